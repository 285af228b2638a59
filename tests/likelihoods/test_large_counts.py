"""Counts and rates as large as floating-point numbers go, against fifty-digit arithmetic."""

from __future__ import annotations

import mpmath
import pytest
import torch

from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.poisson import PoissonDistribution, draw_counts
from lowerbound.likelihoods.zero_inflated import ZeroInflatedDistribution

COUNTS = (1e3, 1e9, 1e15, 1e24, 1e30)


def exact(x: float, mean: float, r: float | None) -> float:
    """log p(x) of the Poisson (r None) or the negative binomial."""
    with mpmath.workdps(60):
        x, m = mpmath.mpf(x), mpmath.mpf(mean)
        if r is None:
            return float(x * mpmath.log(m) - m - mpmath.loggamma(x + 1))
        r = mpmath.mpf(r)
        gammas = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1)
        return float(gammas + r * mpmath.log(r / (r + m)) + x * mpmath.log(m / (r + m)))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("r", [None, 1e-6, 1.0, 1e12])
def test_log_prob_of_large_counts(dtype, tolerance, r):
    for count in COUNTS:
        for mean in (1e-6, 1.0, 1e4, 0.9 * count, count):
            m, x = torch.tensor(mean, dtype=dtype), torch.tensor(count, dtype=dtype)
            dispersion = None if r is None else torch.tensor(r, dtype=dtype)
            p = PoissonDistribution(m) if dispersion is None else NegativeBinomialDistribution(m, dispersion)
            expected = exact(x.item(), m.item(), None if dispersion is None else dispersion.item())
            assert p.log_prob(x).item() == pytest.approx(expected, rel=tolerance, abs=1e-3)
            inflated = ZeroInflatedDistribution(torch.tensor(-40.0, dtype=dtype), p)
            assert inflated.log_prob(x).item() == pytest.approx(expected, rel=tolerance, abs=1e-3)


def test_a_count_whose_ratio_to_the_dispersion_overflows():
    got = NegativeBinomialDistribution(torch.tensor(1.0), torch.tensor(1e-6)).log_prob(torch.tensor(1e33)).item()
    assert got == pytest.approx(exact(1e33, 1.0, 1e-6), rel=1e-5)


@pytest.mark.parametrize("rate", [1e14, 2e15, 1e19, 1e30])
def test_draws_of_large_rates_have_their_mean_and_variance(rate):
    """`torch.poisson` counts in 64-bit integers: above 9e18 its draws are negative. Five standard errors each."""
    draws = draw_counts(torch.full((20_000,), rate, dtype=torch.float64))
    standard = (draws - rate) / rate**0.5
    assert (draws == draws.round()).all()
    assert abs(standard.mean()) < 5 / 20_000**0.5
    assert abs(standard.var() - 1) < 5 * (2 / 20_000) ** 0.5


def test_draws_of_every_count_distribution_are_counts_in_single_precision():
    mean = torch.tensor([1e-6, 1.0, 1e9, 1e19, 1e30, 3e38]).expand(50, 6)
    for r in (1e-3, 1.0, 1e9):
        counts = NegativeBinomialDistribution(mean, torch.tensor(r))
        for p in (PoissonDistribution(mean), counts, ZeroInflatedDistribution(torch.zeros(50, 6), counts)):
            draws = p.sample()
            assert ((draws >= 0) & draws.isfinite() & (draws == draws.round())).all()


def test_draws_of_small_rates_are_those_of_torch():
    rate = torch.tensor([0.1, 3.0, 1e6, 1e12])
    torch.manual_seed(3)
    expected = torch.poisson(rate)
    torch.manual_seed(3)
    assert torch.equal(draw_counts(rate), expected)
