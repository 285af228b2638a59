"""EM: it never falls, its steps are what the definitions say, and it stops where the gradient is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from lowerbound.exact import LinearGaussian
from lowerbound.linear import (
    expectation_maximization,
    expected_statistics,
    fit_factor_analysis,
    fit_probabilistic_pca,
    observed_log_evidence,
)
from lowerbound.linear.statistics import Statistics

NAN = float("nan")


def rows(count=60, missing=0.3, seed=3):
    x = LinearGaussian.random(6, 2, seed=seed).sample(count)
    if missing:
        x[torch.rand(x.shape) < missing] = NAN
    return x


def start(noise):
    exact = LinearGaussian.random(6, 2, seed=9)
    return exact if noise == "per-dimension" else LinearGaussian(exact.weight, exact.offset, exact.scale[0])


@pytest.mark.parametrize("noise", ["per-dimension", "shared"])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7])
def test_the_likelihood_never_falls(noise, missing):
    x = rows(missing=missing)
    fits = list(expectation_maximization(start(noise), x, noise=noise, max_iterations=60, tolerance=-1.0))
    values = np.array([fit.log_likelihood for fit in fits])
    assert len(values) == 61
    assert np.diff(values).min() > -1e-12 * abs(values).max()
    assert values[-1] - values[0] > 0.5
    for fit in (fits[0], fits[40]):
        assert fit.log_likelihood == pytest.approx(float(observed_log_evidence(fit.exact, x).mean()), abs=1e-12)


def test_a_floor_under_the_noise_lets_it_never_fall_either():
    x = rows(missing=0.2)
    x[:, 0] = 2.0
    x[:, 1] = 3 * x[:, 2]
    fits = [*expectation_maximization(start("per-dimension"), x, min_scale=0.2, max_iterations=80, tolerance=-1.0)]
    values = np.array([fit.log_likelihood for fit in fits])
    assert np.diff(values).min() > -1e-10
    assert (fits[-1].exact.scale[:2] == 0.2).any()


@pytest.mark.parametrize("noise", ["per-dimension", "shared"])
def test_the_m_step_is_the_maximum_of_the_expected_joint_density(noise):
    """E over p(z | x_obs) of log p(x_obs, z), by draws of z: its gradient is zero at the M step, within their error."""
    torch.manual_seed(0)
    x, old = rows(count=12), start(noise)
    new = expected_statistics(old, x).maximise(noise, torch.zeros(()).double())
    theta = [t.clone().requires_grad_() for t in (new.weight, new.offset, new.scale)]
    gradients = []
    for _ in range(30):
        z = torch.stack([draws_of_the_posterior(old, row, 1000) for row in x], 1)
        density = Normal(z @ theta[0].mT + theta[1], theta[2].expand(6)).log_prob(x.nan_to_num())
        total = torch.where(x.isnan(), 0.0, density).sum(-1).mean()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(total, theta)]))
    repeats = torch.stack(gradients)
    error = repeats.std(0) / 30**0.5
    assert error.max() < 0.03
    assert (repeats.mean(0).abs() < 6.5 * error).all()


def draws_of_the_posterior(exact, row, count):
    seen = ~row.isnan()
    if not seen.any():
        return torch.randn(count, exact.weight.shape[1], dtype=row.dtype)
    part = LinearGaussian(exact.weight[seen], exact.offset[seen], exact.scale.expand(6)[seen])
    p = part.posterior(row[seen][None])
    return MultivariateNormal(p.mean[0], p.covariance_matrix[0]).sample((count,))


@pytest.mark.parametrize("noise", ["per-dimension", "shared"])
def test_where_it_stops_the_gradient_of_the_likelihood_is_zero(noise):
    x, sizes = rows(count=100, missing=0.2), []
    *_, fit = expectation_maximization(start(noise), x, noise=noise, max_iterations=600, tolerance=1e-13)
    for exact in (start(noise), fit.exact):
        theta = [t.clone().requires_grad_() for t in (exact.weight, exact.offset, exact.scale)]
        value = observed_log_evidence(LinearGaussian(*theta), x).mean()
        sizes.append(max(float(g.abs().max()) for g in torch.autograd.grad(value, theta)))
    assert sizes[1] < 2e-3 * sizes[0]


def test_statistics_are_those_of_a_loop_over_rows_and_columns():
    x, exact = rows(count=7), start("per-dimension")
    weights = torch.rand(7, dtype=torch.float64)
    got = expected_statistics(exact, x, weights)
    moment, cross = torch.zeros(6, 3, 3).double(), torch.zeros(6, 3).double()
    for n, row in enumerate(x):
        seen = ~row.isnan()
        part = LinearGaussian(exact.weight[seen], exact.offset[seen], exact.scale[seen])
        p = part.posterior(row[seen][None])
        z = torch.cat([p.mean[0], torch.ones(1).double()])
        second = torch.outer(z, z)
        second[:2, :2] += p.covariance_matrix[0]
        for d in range(6):
            if seen[d]:
                moment[d] += weights[n] * second
                cross[d] += weights[n] * row[d] * z
    torch.testing.assert_close(got.moment, moment)
    torch.testing.assert_close(got.cross, cross)
    torch.testing.assert_close(got.observed, weights @ (~x.isnan()).double())


def test_a_blend_is_a_weighted_average_of_statistics():
    exact, x = start("per-dimension"), rows(count=10, missing=0)
    parts = [expected_statistics(exact, part) for part in (x[:6], x[6:])]
    blended, whole = parts[0].blend(parts[1], 0.4), expected_statistics(exact, x)
    for name in Statistics.__dataclass_fields__:
        torch.testing.assert_close(getattr(blended, name), getattr(whole, name))


@pytest.mark.parametrize("fit", [fit_factor_analysis, fit_probabilistic_pca])
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x[:1], "needs at least 2"),
        (lambda x: x.index_fill(1, torch.tensor([2]), NAN), r"Columns \[2\] have no observed entry"),
        (lambda x: x * NAN, "have no observed entry"),
        (lambda x: x.index_fill(1, torch.tensor([2]), float("inf")), "infinite"),
    ],
)
def test_refusals(fit, change, words):
    with pytest.raises(ValueError, match=words):
        next(fit(change(rows(missing=0)), 2))


@pytest.mark.parametrize("fit, most", [(fit_factor_analysis, 6), (fit_probabilistic_pca, 5)])
def test_more_factors_than_there_can_be(fit, most):
    next(fit(rows(), most))
    for latent_dim in (0, most + 1):
        with pytest.raises(ValueError, match=f"between 1 and {most} for 6 columns"):
            next(fit(rows(), latent_dim))
