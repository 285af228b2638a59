"""Every choice of every axis runs once with nothing but its defaults, and in the company that it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lowerbound as lb
from lowerbound import gradients, inference, losses, objectives, optimizers, penalties, posteriors, priors
from lowerbound.references import work_of
from lowerbound.spelling import choices

BITS = (np.random.default_rng(0).random((60, 6)) < 0.4).astype(np.float32)
SMALL: dict[str, Any] = {"steps": 2, "hidden": [4], "latent_dim": 2, "compile": False}
AXES = {
    "prior": priors,
    "posterior": posteriors,
    "objective": objectives,
    "gradient": gradients,
    "penalty": penalties,
    "loss": losses,
    "inference": inference,
    "optimizer": optimizers,
}

OF_BITS = {"prior": "bernoulli", "posterior": "bernoulli", "objective": "elbo", "gradient": "disarm"}
OF_CLASSES = {"prior": "categorical", "posterior": "categorical", "objective": "elbo", "gradient": "enumerate"}
ELBO = {"objective": "elbo"}
COMPANY: dict[str, dict[str, Any]] = {
    "objective geco": {"objective": "geco:target=-3.0"},
    **{f"gradient {name}": OF_BITS for name in ("arm", "rebar", "relax", "concrete", "disarm", "straight-through")},
    "gradient enumerate": OF_CLASSES,
    **{f"gradient {name}": {"objective": "elbo:rate=sampled"} for name in ("aggregate-ratio", "density-ratio")},
    "gradient fixed-samples": {"objective": "log-variance"},
    **{f"gradient {name}": ELBO for name in ("measure-valued", "rao-blackwell", "stick-the-landing", "var-grad")},
    "gradient stratified": {**ELBO, "posterior": "mixture-normal"},
}
"""What a choice goes with, where that is not what the recipe has."""

REFUSED = {
    "prior autoregressive-map": "is over maps and got sites of shape",  # those of the recipes fsq and vq
    "posterior finite-scalar": "take the recipe fsq, which has them",
    "posterior lookup-free": "take the recipe fsq, which has them",
    "posterior vector-quantized": "take the recipe vq, which has them",
    "posterior residual-quantized": "take the recipe vq, which has them",
    "gradient quantized": "needs codes such as those of",
    "objective cubo": "an upper bound of log p",
    "objective chi-divergence": "fits q to a p that is held fixed",
    "loss subsets": "which has no blocks; use the recipe multimodal",
    "loss auxiliary": "is for the likelihood autoregressive",
    "inference hmc": "with a density and HMC gives draws",
    "inference non-amortised": "needs the row of each datum",
}
"""What the recipe does not take, and why; another recipe, or a loop of one's own, does."""

WORKS_BY_OPTIONS = {"flow-prior", "beta-elbo", "free-bits", "monte-carlo-em", "straight-through", "score-function"}
"""Those that use a part of their works, as `works` of an instance says."""

ASKS_AFTER_A_RECORD = {"loss aggressive": "losses/aggressive.py"}
"""What reads the device before the first step of an interval, when the record has just waited for it; in these tests
each step is an interval.
"""

IN_OTHER_TESTS = AXES.keys() - {"inference", "optimizer"}  # tests/models/test_vae.py, with a loss by hand
CASES = [
    pytest.param(axis, name, id=f"{axis} {name}", marks=[pytest.mark.slow] if axis in IN_OTHER_TESTS else [])
    for axis, package in AXES.items()
    for name in choices(package)
    if (axis, name) != ("loss", "semi-supervised")  # that of the recipe of this name
]


@pytest.mark.parametrize("axis, name", CASES)
def test_it_runs_with_its_defaults_and_waits_for_no_device(axis: str, name: str, waits: list[str]) -> None:
    case = f"{axis} {name}"
    given = {**SMALL, axis: name, **COMPANY.get(case, {})}
    if axis in COMPANY.get(case, {}) and name not in given[axis]:
        given[axis] = name
    if case in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[case]):
            lb.fit(BITS, "vae", **given)
        return
    fitted = lb.fit(BITS, "vae", **given)
    assert all(ASKS_AFTER_A_RECORD.get(case, "no file") in wait for wait in waits), waits
    assert all(np.isfinite(value) for value in fitted.records[-1]["terms"].values())
    whole = axis not in COMPANY.get(case, {}) and name not in WORKS_BY_OPTIONS
    cited = {work.key for work in lb.cite(fitted).works}
    assert not whole or {work_of(key).key for key in choices(AXES[axis])[name].cites} <= cited  # type: ignore[attr-defined]
