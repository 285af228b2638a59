"""Pareto k̂, effective sample size and standard error."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lowerbound.evaluate import effective_sample_size, log_mean_weight, pareto_k
from lowerbound.evaluate.importance import FEWEST_WEIGHTS


def scalar_pareto_k(log_w):
    """Zhang & Stephens (2009) as PSIS uses it, one datum at a time, in plain loops."""
    w = np.sort(np.exp(log_w - log_w.max()))
    size = math.ceil(min(len(w) / 5, 3 * math.sqrt(len(w))))
    x = w[-size:] - w[-size - 1]
    n, m = len(x), 30 + int(math.sqrt(len(x)))
    quartile = x[int(n / 4 + 0.5) - 1]
    b = [1 / x[-1] + (1 - math.sqrt(m / (j - 0.5))) / (3 * quartile) for j in range(1, m + 1)]
    k = [float(np.mean(np.log1p(-each * x))) for each in b]
    profile = [n * (math.log(-bj / kj) - kj - 1) for bj, kj in zip(b, k, strict=True)]
    weight = [1 / sum(math.exp(other - own) for other in profile) for own in profile]
    best = sum(w * b for w, b in zip(weight, b, strict=True))
    return (n * float(np.mean(np.log1p(-best * x))) + 5) / (n + 10)


def test_pareto_k_against_a_scalar_reference():
    log_w = torch.randn(500, 6, dtype=torch.float64) * torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0, 8.0])
    expected = [scalar_pareto_k(column) for column in log_w.T.numpy()]
    assert torch.allclose(pareto_k(log_w), torch.tensor(expected, dtype=torch.float64), atol=1e-8)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.4, 0.8, 1.5])
def test_pareto_k_of_generalised_pareto_samples(shape):
    """Mean of 50 estimates from 100,000 weights each: 949 in the tail, standard deviation (1 + k)/√949 each."""
    w = stats.genpareto(shape).rvs((100_000, 50), random_state=0) + 1e-3
    got = pareto_k(torch.from_numpy(np.log(w)))
    assert abs(got.mean().item() - shape) < 0.05
    assert got.std().item() < 2.5 * (1 + abs(shape)) / math.sqrt(949)


def test_weights_that_rounding_alone_moves_have_no_tail():
    log_w = -33.3 + 2e-4 * torch.randn(1000, 5)  # of an exact posterior in single precision
    assert bool((pareto_k(log_w) == -math.inf).all())


def test_pareto_k_ignores_scale_and_order():
    log_w = 2 * torch.randn(300, 2, dtype=torch.float64)
    assert torch.allclose(pareto_k(log_w + 1e3), pareto_k(log_w))
    assert torch.equal(pareto_k(log_w[torch.randperm(300)]), pareto_k(log_w))


def test_pareto_k_is_not_a_number_of_too_few_weights_only():
    constant = pareto_k(torch.full((1000, 1), -90.0))
    assert constant.item() == -math.inf
    few = torch.randn(FEWEST_WEIGHTS - 1, 3)
    assert pareto_k(few).isnan().all()
    assert pareto_k(few[:2]).isnan().all()
    assert pareto_k(torch.cat([few, torch.randn(1, 3)])).isfinite().all()
    tied = torch.zeros(1000, 1)
    tied[:3] = 5.0  # a discrete latent: three draws of a rare state, all others alike
    dominated = torch.full((1000, 1), -1e5)
    dominated[0] = 0.0
    assert pareto_k(torch.cat([tied, dominated], 1)).gt(0.7).all()


def test_effective_sample_size():
    one = torch.tensor([[0.0], [-1e4], [-1e4]])
    assert torch.allclose(effective_sample_size(one), torch.tensor(1.0))
    assert torch.allclose(effective_sample_size(torch.full((9, 1), 300.0)), torch.tensor(9.0))
    w = torch.rand(10, 4, dtype=torch.float64)
    assert torch.allclose(effective_sample_size(w.log()), w.sum(0) ** 2 / (w**2).sum(0))


def test_standard_error_is_the_spread_of_repeated_estimates():
    """Log-normal weights of variance 0.25: 2000 estimates from 400 samples each."""
    value, error = log_mean_weight(0.5 * torch.randn(400, 2000, dtype=torch.float64))
    assert abs(error.mean() / value.std() - 1) < 0.08
    assert abs(value.mean() - 0.125) < 5 * value.std() / math.sqrt(2000) + 0.284 / 800
    assert log_mean_weight(torch.zeros(1, 3))[1].isnan().all()
