"""Values to which the likelihood gives no probability are refused in one sentence, on every road of every estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lowerbound.sklearn import VAE, SemiSupervisedVAE, VaDE

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(2.0, size=(40, 3)).astype(float)
UNIT = RNG.uniform(0.1, 0.9, size=(40, 3))
CLASSES = RNG.integers(0, 4, size=(40, 3)).astype(float)
Y = np.where(np.arange(40) < 10, np.arange(40) % 2, -1)
SIZE: dict[str, Any] = {"latent_dim": 2, "hidden": (4,), "epochs": 1, "random_state": 0, "device": "cpu"}
CASES = {
    "negative counts": ("poisson", COUNTS, -1.0, "Poisson takes counts"),
    "half counts": ("negative-binomial", COUNTS, 0.5, "NegativeBinomial takes counts"),
    "above one": ("beta", UNIT, 1.5, r"Beta takes numbers in \[0, 1\]"),
    "not a bit": ("bernoulli", UNIT.round(), 2.0, r"Bernoulli takes numbers in \[0, 1\]"),
    "class 7 of 4": ("categorical:num_classes=4", CLASSES, 7.0, "Categorical takes class numbers 0, …, 3"),
}
ESTIMATORS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "VAE": (lambda **given: VAE(num_evidence_samples=2, **given), ("transform", "reconstruct", "score_samples")),
    "VaDE": (
        lambda **given: VaDE(2, pretrain_epochs=1, n_init=1, num_evidence_samples=2, **given),
        ("predict", "predict_proba", "transform", "score_samples"),
    ),
    "SemiSupervisedVAE": (
        lambda **given: SemiSupervisedVAE(**given),
        ("predict", "predict_proba", "transform", "transfer"),
    ),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("case", CASES)
def test_a_value_outside_the_support_is_refused(estimator: str, case: str) -> None:
    (make, roads), (likelihood, X, value, words) = ESTIMATORS[estimator], CASES[case]
    bad = X.copy()
    bad[7, 1] = value
    with pytest.raises(ValueError, match=rf"holds {value:g} at row 7, column '?1'?; {words}") as refusal:
        make(likelihood=likelihood, **SIZE).fit(bad, Y)
    assert len(str(refusal.value)) < 300
    fitted = make(likelihood=likelihood, **SIZE).fit(X, Y)
    for road in roads:
        with pytest.raises(ValueError, match=rf"holds {value:g} at row 7(, column '?1'?; {words}|; the model knows)"):
            getattr(fitted, road)(bad)
