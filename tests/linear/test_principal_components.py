"""Probabilistic PCA against scikit-learn on digits, and its closed form against EM."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from lowerbound.exact import LinearGaussian
from lowerbound.linear import corrected, expectation_maximization, fit_probabilistic_pca, observed_log_evidence


def last(fits):
    *_, fit = fits
    return fit


@pytest.mark.parametrize("latent_dim", [2, 16])
def test_digits_have_the_likelihood_of_scikit_learn(latent_dim):
    """Once the covariance has its divisor, N − 1; the maximum of the likelihood is above it by what the module says."""
    X = load_digits().data
    x = torch.as_tensor(X)
    theirs = PCA(latent_dim, svd_solver="full").fit(X).score(X)
    fit = last(fit_probabilistic_pca(x, latent_dim))
    assert float(observed_log_evidence(corrected(fit.exact, len(x), 1), x).mean()) == pytest.approx(theirs, abs=1e-9)
    k = len(x) / (len(x) - 1)
    assert fit.log_likelihood - theirs == pytest.approx(32 * (math.log(k) + 1 / k - 1), abs=1e-9)


def test_the_closed_form_is_the_limit_of_em():
    x = LinearGaussian.random(6, 2, seed=3).sample(100)
    fit = last(fit_probabilistic_pca(x, 2))
    start = LinearGaussian(torch.randn(6, 2).double(), torch.zeros(6).double(), torch.tensor(1.0).double())
    limit = last(expectation_maximization(start, x, noise="shared", max_iterations=5000, tolerance=1e-14))
    assert limit.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-9)
    torch.testing.assert_close(
        limit.exact.weight @ limit.exact.weight.mT, fit.exact.weight @ fit.exact.weight.mT, atol=1e-4, rtol=1e-4
    )


def test_with_missing_entries_it_rises_above_the_fit_of_rows_filled_with_means():
    x = LinearGaussian.random(6, 2, seed=3).sample(100)
    x[torch.rand(x.shape) < 0.3] = float("nan")
    fits = list(fit_probabilistic_pca(x + 100, 2))
    assert fits[-1].log_likelihood > fits[0].log_likelihood + 0.1
    assert fits[-1].exact.scale.ndim == 0
    assert fits[-1].log_likelihood == pytest.approx(
        float(observed_log_evidence(fits[-1].exact, x + 100).mean()), abs=1e-8
    )


def test_rows_without_noise_rest_on_the_floor():
    x = torch.randn(50, 1).double() @ torch.randn(1, 4).double()
    fit = last(fit_probabilistic_pca(x, 2, min_scale=1e-3))
    assert float(fit.exact.scale) == pytest.approx(1e-3)
    assert math.isfinite(fit.log_likelihood)
