"""scikit-learn's own checks of an estimator, all but those that a Monte Carlo score cannot meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from lowerbound.sklearn import VAE

SMALL = VAE(latent_dim=2, hidden=(8,), epochs=2, num_evidence_samples=5)
OTHER_NUMBERS = "score_samples is a Monte Carlo estimate: a row in other company gets other random numbers"
NOT_MET = {
    "check_methods_subset_invariance": OTHER_NUMBERS,
    "check_methods_sample_order_invariance": OTHER_NUMBERS,
}


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn wants a constructor that takes anything, and `fit` to explain itself: a type check speaks first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("without_type_checks")
@parametrize_with_checks([SMALL], expected_failed_checks=lambda estimator: NOT_MET)
def test_check_of_scikit_learn(estimator: VAE, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_the_class_docstring_names_the_checks_that_are_not_met() -> None:
    assert VAE.__doc__ is not None
    assert [name for name in NOT_MET if name not in VAE.__doc__] == []


@pytest.mark.parametrize("method", ["transform", "reconstruct"])
def test_latents_and_reconstructions_of_a_row_do_not_depend_on_its_company(method: str) -> None:
    """What the checks that are not met would hold for everything but the score."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    answer = getattr(VAE(latent_dim=2, hidden=(8,), epochs=2, random_state=0).fit(X), method)
    np.testing.assert_allclose(answer(X)[5:9], answer(X[5:9]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answer(X)[::-1], answer(X[::-1]), rtol=1e-5, atol=1e-6)
