"""A fit that begins at the weights of another model, with parts of it held fixed."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch

import lowerbound as lb
from lowerbound.data import load
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.start import freeze, plan_from
from lowerbound.one_call import start_of
from lowerbound.report import collect
from lowerbound.runs import Run

SMALL = {"latent_dim": 2, "hidden": [8], "device": "cpu"}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def frame() -> pandas.DataFrame:
    return pandas.DataFrame(RNG.normal(size=(60, 3)) * [1, 10, 0.1] + [0, 100, 5], columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def fitted(frame) -> Fitted:
    return lb.fit(frame, "vae", steps=30, lr=0.01, seed=3, **SMALL)


def _parameters(fitted: Fitted, part: str) -> dict[str, torch.Tensor]:
    return dict(getattr(fitted.model, part).named_parameters())


def test_what_is_frozen_stays_and_the_rest_learns(fitted, frame):
    again = lb.fit(frame, start_from=fitted, freeze=["likelihood"], steps=10, lr=0.01)
    for name, p in _parameters(fitted, "likelihood").items():
        assert torch.equal(p, _parameters(again, "likelihood")[name])
    moved = [
        not torch.equal(p, _parameters(again, "posterior")[name])
        for name, p in _parameters(fitted, "posterior").items()
    ]
    assert all(moved)
    assert again.plan is not None
    assert (again.plan.freeze, again.plan.seed, again.plan.model) == (("likelihood",), 3, fitted.plan.model)
    assert again.plan.given == {"freeze": ["likelihood"], "steps": 10, "lr": 0.01}


def test_other_data_keep_the_transform_of_the_weights(fitted, frame):
    shifted = frame.iloc[::-1].assign(b=frame["b"] + 5)[["c", "b", "a"]]  # other rows, and columns in another order
    again = lb.fit(shifted, start_from=fitted, steps=1)
    assert again.schema.column_names == ("a", "b", "c")
    assert torch.equal(again.transform.mean, fitted.transform.mean)
    assert again.log_scale == fitted.log_scale


def test_no_step_is_the_start(fitted, frame):
    """With a learning rate of nearly nothing, the first score is the last of the start."""
    again = lb.fit(frame, start_from=fitted, steps=1, lr=1e-12)
    np.testing.assert_allclose(again.score(frame, num_samples=5), fitted.score(frame, num_samples=5), rtol=1e-4)


@pytest.mark.parametrize(
    "given, part",
    [
        ({"hidden": [9]}, r"has hidden=\[8\] and \[9\] was given"),
        ({"standardize": False}, "has standardize=True and False was given"),
        ({"recipe": "vade"}, "holds a vae and the recipe vade was given"),
        ({"freeze": ["prior"]}, "freeze names the prior, which has no parameters"),
        ({"freeze": ["likelihood", "posterior"]}, "no parameter is left to learn"),
        ({"freeze": ["decoder"]}, "got freeze=.'decoder'. and expected a list of prior, likelihood or posterior"),
        ({"kind": "counts"}, "with kind, columns, series or time"),
    ],
)
def test_another_model_is_refused(fitted, frame, given, part):
    with pytest.raises(ValueError, match=part):
        lb.fit(frame, start_from=fitted, steps=1, **given)


def test_data_that_mean_something_else_are_refused(fitted, frame):
    with pytest.raises(ValueError, match="lacks 1 of the 3 columns"):
        lb.fit(frame.rename(columns={"a": "z"}), start_from=fitted, steps=1)
    with pytest.raises(ValueError, match="another kind than the data of"):
        plan_from(start_of(fitted), load("digits"))


def test_freezing_needs_weights_and_exact_models_have_no_start(frame):
    with pytest.raises(ValueError, match="freeze holds weights fixed and none are given"):
        lb.fit(frame, "vae", freeze=["likelihood"], steps=1)
    exact = lb.fit(frame, "factor-analysis")
    with pytest.raises(ValueError, match="is solved without steps"):
        lb.fit(frame, start_from=exact)


@pytest.mark.parametrize("objective, gradient", [("iwae", "dreg"), ("elbo", "stick-the-landing"), ("iwae", "vimco")])
def test_estimators_take_a_frozen_posterior(fitted, frame, objective, gradient):
    gradient = "score-function" if gradient == "vimco" else gradient
    options = {"objective": objective, "gradient": gradient, "num_samples": 3}
    again = lb.fit(frame, start_from=fitted, freeze=["posterior"], steps=3, lr=0.01, **options)
    for name, p in _parameters(fitted, "posterior").items():
        assert torch.equal(p, _parameters(again, "posterior")[name])


def test_a_run_from_a_run_resumes_without_it(fitted, tmp_path, capsys):
    from lowerbound.cli import main

    np.save(tmp_path / "x.npy", RNG.normal(size=(60, 3)))
    words = ["--no-evaluate", "--steps", "4", "--out"]
    tiny = ["--recipe", "vae", "--latent-dim", "2", "--hidden", "8", "--device", "cpu"]
    assert main(["fit", str(tmp_path / "x.npy"), *words, str(tmp_path / "one"), *tiny]) == 0
    begin = ["fit", str(tmp_path / "x.npy"), "--from", str(tmp_path / "one"), "--freeze", "likelihood"]
    assert main([*begin, *words, str(tmp_path / "two")]) == 0
    whole = (tmp_path / "two" / "model.safetensors").read_bytes()
    run = Run.open(tmp_path / "two")
    assert run.config["came_from"]["run"] == str(tmp_path / "one")
    assert run.plan.freeze == ("likelihood",)
    assert "came_from" in collect(run.fitted()).configuration
    for name in ("model.safetensors", "state.safetensors", "metrics.jsonl"):
        (tmp_path / "two" / name).unlink()
    for path in (tmp_path / "one").iterdir():
        path.unlink()
    assert main(["fit", "--resume", str(tmp_path / "two"), "--no-evaluate"]) == 0
    assert (tmp_path / "two" / "model.safetensors").read_bytes() == whole
    (tmp_path / "two" / "start.safetensors").unlink()
    assert main(["fit", "--resume", str(tmp_path / "two"), "--no-evaluate"]) == 2
    assert "has no start.safetensors" in capsys.readouterr().err


def test_a_saved_model_says_where_it_came_from(fitted, frame, tmp_path):
    again = lb.fit(frame, start_from=fitted, steps=1)
    again.save(tmp_path / "saved")
    assert Fitted.open(tmp_path / "saved").config["came_from"] == {"run": "vae"}


def test_parameters_that_two_parts_share_are_frozen_with_either():
    planned = plan(load("digits"), prior="vamp", steps=1, **SMALL)
    from lowerbound.fitting.preparing import make_model

    model = make_model(planned, (8, 8))
    freeze(model, ["prior"])
    assert all(p.requires_grad for p in model.posterior.parameters())  # a VampPrior refers to q and does not own it
    assert not any(p.requires_grad for p in model.prior.parameters())
