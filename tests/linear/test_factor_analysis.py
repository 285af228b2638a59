"""Factor analysis against scikit-learn on digits, and against itself: gradients, units, missing entries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import FactorAnalysis

from lowerbound.exact import LinearGaussian
from lowerbound.linear import expectation_maximization, fit_factor_analysis, observed_log_evidence
from lowerbound.linear.factor_analysis import _profile


def last(fits):
    *_, fit = fits
    return fit


@pytest.mark.parametrize("latent_dim", [2, 10])
def test_digits_have_the_likelihood_of_scikit_learn(latent_dim):
    """With its three constant columns, which rest on the same floor there and here."""
    X = load_digits().data
    theirs = FactorAnalysis(latent_dim, tol=1e-8, max_iter=5000, svd_method="lapack").fit(X).score(X)
    fit = last(fit_factor_analysis(torch.as_tensor(X), latent_dim, min_scale=1e-6))
    assert fit.log_likelihood == pytest.approx(theirs, abs=1e-6)
    assert float(observed_log_evidence(fit.exact, torch.as_tensor(X)).mean()) == pytest.approx(theirs, abs=1e-6)
    assert ((fit.exact.scale / 1e-6 - 1).abs() < 1e-9).sum() == 3


def test_the_iterates_never_fall_and_reach_the_limit_of_em():
    x = LinearGaussian.random(7, 2, seed=4).sample(200)
    fits = list(fit_factor_analysis(x, 2))
    values = [fit.log_likelihood for fit in fits]
    assert np.diff(values).min() >= 0
    assert [fit.iteration for fit in fits] == list(range(len(fits)))
    for fit in fits:
        assert fit.log_likelihood == pytest.approx(float(observed_log_evidence(fit.exact, x).mean()), abs=1e-9)
    slow = last(expectation_maximization(LinearGaussian.random(7, 2, seed=1), x, max_iterations=800, tolerance=1e-10))
    assert values[-1] == pytest.approx(slow.log_likelihood, abs=1e-5)
    covariances = [f.exact.weight @ f.exact.weight.mT + torch.diag(f.exact.scale**2) for f in (fits[-1], slow)]
    torch.testing.assert_close(*covariances, atol=1e-2, rtol=0)


def test_the_slope_of_the_profile_is_that_of_automatic_differentiation():
    x = LinearGaussian.random(6, 2, seed=4).sample(50)
    psi = torch.linspace(-2, 0.5, 6, dtype=torch.float64).requires_grad_()
    value, slope, weight = _profile(psi, x.T.cov(correction=0), 2)
    (expected,) = torch.autograd.grad(value, psi)
    torch.testing.assert_close(slope.detach(), expected)
    centred = LinearGaussian(weight.detach(), torch.zeros(6).double(), (psi.detach() / 2).exp())
    assert float(value.detach()) == pytest.approx(
        float(observed_log_evidence(centred, x - x.mean(0)).mean()), abs=1e-10
    )


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_units_of_columns_do_not_matter(missing):
    x = LinearGaussian.random(5, 1, seed=5).sample(80)
    x[torch.rand(x.shape) < missing] = float("nan")
    units, shift = torch.tensor([1e-3, 1.0, 50.0, 1e4, 1.0]).double(), 1e3
    one = last(fit_factor_analysis(x, 1, max_iterations=100))
    other = last(fit_factor_analysis((x + shift) * units, 1, max_iterations=100))
    per_row = ((~x.isnan()).double() @ units.log()).mean()
    assert other.log_likelihood + float(per_row) == pytest.approx(one.log_likelihood, abs=1e-5)
    torch.testing.assert_close(other.exact.scale / units, one.exact.scale, rtol=1e-2, atol=0)


def test_a_few_missing_entries_change_little_and_the_em_is_at_its_maximum():
    x = LinearGaussian.random(6, 2, seed=6).sample(400)
    whole = last(fit_factor_analysis(x, 2))
    x[::40, 0] = float("nan")
    part = last(fit_factor_analysis(x, 2, max_iterations=300, tolerance=1e-8))
    covariances = [f.exact.weight @ f.exact.weight.mT + torch.diag(f.exact.scale**2) for f in (whole, part)]
    assert (covariances[0] - covariances[1]).abs().max() < 0.1
    assert float(observed_log_evidence(part.exact, x).mean()) >= float(observed_log_evidence(whole.exact, x).mean())


def test_as_many_factors_as_columns_are_the_full_gaussian():
    x = LinearGaussian.random(3, 2, seed=7).sample(100)
    full = float(torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0)).log_prob(x).mean())
    values = [last(fit_factor_analysis(x, latent_dim)).log_likelihood for latent_dim in (1, 2, 3)]
    assert values[0] <= values[1] + 1e-9
    assert values[1] <= values[2] + 1e-9
    assert values[2] == pytest.approx(full, abs=1e-7)
