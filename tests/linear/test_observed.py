"""Rows with missing entries against direct conditioning of the joint Gaussian, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from lowerbound.exact import LinearGaussian
from lowerbound.linear import impute, observe, observed_log_evidence

NAN = float("nan")


def case(shared=False):
    exact = LinearGaussian.random(5, 2, seed=1)
    if shared:
        exact = LinearGaussian(exact.weight, exact.offset, torch.tensor(0.6, dtype=torch.float64))
    x = exact.sample(40)
    x[torch.rand(40, 5) < 0.4] = NAN
    x[0], x[1] = NAN, 1.0  # nothing and everything observed
    return exact, x


def conditioned(exact, row):
    """log p(x_obs), E[z | x_obs] and the filled row, from the joint covariance of (z, x)."""
    W, b = exact.weight.numpy(), exact.offset.numpy()
    covariance = W @ W.T + np.diag(np.broadcast_to(exact.scale.numpy() ** 2, 5))
    o = ~np.isnan(row)
    gain = np.linalg.inv(covariance[np.ix_(o, o)]) @ (row - b)[o]
    filled = np.where(o, row, b + covariance[:, o] @ gain)
    density = stats.multivariate_normal(b[o], covariance[np.ix_(o, o)]).logpdf(row[o]) if o.any() else 0.0
    posterior = np.eye(2) - W[o].T @ np.linalg.inv(covariance[np.ix_(o, o)]) @ W[o]
    return density, W[o].T @ gain, posterior, filled


@pytest.mark.parametrize("shared", [False, True])
def test_bayes_rule_is_that_of_the_joint_gaussian(shared):
    exact, x = case(shared)
    p, filled = observe(exact, x), impute(exact, x)
    for n, row in enumerate(x.numpy()):
        density, mean, covariance, completed = conditioned(exact, row)
        assert float(p.log_evidence[n]) == pytest.approx(density, abs=1e-10)
        np.testing.assert_allclose(p.mean[n], mean, atol=1e-10)
        np.testing.assert_allclose(p.covariance[p.pattern[n]], covariance, atol=1e-10)
        np.testing.assert_allclose(filled[n], completed, atol=1e-10)


def test_without_missing_entries_it_is_the_oracle_and_one_factorisation():
    exact, _ = case()
    x = exact.sample(30)
    p = observe(exact, x)
    torch.testing.assert_close(p.log_evidence, exact.log_evidence(x))
    torch.testing.assert_close(p.mean, exact.posterior(x).mean)
    assert len(p.covariance) == 1
    assert torch.equal(impute(exact, x), x)


def test_a_tiny_variance_costs_no_digits():
    """σ = 1e-6 in one column beside σ near 1: against 50 digits of mpmath, in whose stead the sum over columns."""
    exact = LinearGaussian.random(5, 1, seed=2)
    exact = LinearGaussian(exact.weight, exact.offset, exact.scale.clone().index_fill(0, torch.tensor([0]), 1e-6))
    x = exact.sample(20)
    covariance = exact.weight @ exact.weight.mT + torch.diag(exact.scale**2)
    # x_0 first, then the others given x_0: no cancellation in either.
    r, first = x - exact.offset, covariance[0, 0]
    rest = covariance[1:, 1:] - torch.outer(covariance[1:, 0], covariance[0, 1:]) / first
    mean = r[:, :1] * covariance[0, 1:] / first
    given = stats.multivariate_normal(np.zeros(4), rest.numpy()).logpdf((r[:, 1:] - mean).numpy())
    expected = stats.norm(0, float(first) ** 0.5).logpdf(r[:, 0].numpy()) + given
    np.testing.assert_allclose(observed_log_evidence(exact, x), expected, rtol=1e-9)
