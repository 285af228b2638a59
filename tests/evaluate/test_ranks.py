"""Ranks are uniform where they should be, ties and all, and the bands hold at the stated level."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from lowerbound.evaluate import ecdf_band, expected_coverage, tarp, uniform_ranks, uniformity_p_values
from lowerbound.evaluate.ranks import largest_difference

MANY = 4000
"""Replications: a rate of 0.05 then has a standard error of 0.0034."""


def false_alarms(found: np.ndarray, level: float) -> None:
    """As many as stated: inside the exact binomial interval that fails once in a million."""
    low, high = scipy.stats.binom.ppf([5e-7, 1 - 5e-7], found.size, level) / found.size
    assert low <= found.mean() <= high


def test_ranks_by_hand():
    draws = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]])
    u = uniform_ranks(torch.tensor([4.0, 2.0]), draws)
    assert 0.5 <= u[0] <= 0.75  # two of three are below
    assert torch.equal(u, uniform_ranks(torch.tensor([4.0, 2.0]), draws))
    assert not torch.equal(u, uniform_ranks(torch.tensor([4.0, 2.0]), draws, seed=1))


@pytest.mark.parametrize("draw", [torch.randn, lambda *shape: torch.randint(2, shape).float(), torch.zeros])
def test_exchangeable_values_have_uniform_ranks_also_with_ties(draw):
    values = draw(8, MANY)
    u = uniform_ranks(values[0], values[1:]).numpy()
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-6


def test_ranks_of_one_half_lie_there():
    """Half of the draws equal the true value, the others are below: the rank is in the upper half."""
    draws = torch.cat([torch.zeros(5, 100), torch.ones(5, 100)])
    u = uniform_ranks(torch.ones(100), draws)
    assert 5 / 11 <= u.min() < 0.55 < 0.9 < u.max() <= 1


@pytest.mark.parametrize("true, draws", [(torch.ones(2), torch.ones(0, 2)), (torch.ones(1) * np.nan, torch.ones(3, 1))])
def test_no_draws_and_no_numbers_are_refused(true, draws):
    with pytest.raises(ValueError, match="Ranks need"):
        uniform_ranks(true, draws)


def test_the_largest_difference_is_that_of_scipy():
    u = torch.rand(57, 4, dtype=torch.float64)
    known = [scipy.stats.kstest(column, "uniform").statistic for column in u.numpy().T]
    difference, error = largest_difference(u)
    torch.testing.assert_close(difference, torch.tensor(known, dtype=torch.float64))
    assert bool((error <= 0.5 / 57**0.5).all())


@pytest.mark.parametrize("size", [15, 200])
def test_uniform_numbers_leave_their_band_as_often_as_stated(size):
    band = ecdf_band(size, level=0.9)
    share = (np.random.default_rng(1).uniform(size=(size, 1, MANY)) <= band.points[:, None]).mean(0)
    outside = ((share < band.lower[:, None] - 1e-9) | (share > band.upper[:, None] + 1e-9)).any(0)
    low, high = scipy.stats.binom.ppf([5e-7, 1 - 5e-7], MANY, [0.08, 0.1]) / MANY  # the counts have steps
    assert low <= outside.mean() <= high


@pytest.mark.parametrize("level", [0.05, 0.3])
@pytest.mark.slow
def test_p_values_raise_false_alarms_as_often_as_stated(level):
    values = np.random.default_rng(2).uniform(size=(400, 500))
    false_alarms(uniformity_p_values(values) <= level, level)


def test_the_band_of_many_curves_is_wider():
    one, many = ecdf_band(100), ecdf_band(100, num_curves=50)
    assert (many.upper >= one.upper).all()
    assert (many.upper > one.upper).any()
    with pytest.raises(ValueError, match="0 < level < 1"):
        ecdf_band(100, level=1.0)


@pytest.mark.parametrize("factor, word", [(1.0, "right"), (2.0, "wide"), (0.5, "narrow")])
def test_coverage_of_gaussians_of_another_width(factor, word):
    """Three latents: the region of q with probability c is a ball whose probability under p is known."""
    true, draws = torch.randn(MANY, 3), factor * torch.randn(199, MANY, 3)
    level = 0.8
    known = scipy.stats.chi2.cdf(factor**2 * scipy.stats.chi2.ppf(level, 3), 3)
    log_q = [-(z / factor).square().sum(-1) / 2 for z in (true, draws)]
    found = expected_coverage(*log_q, levels=(level,))
    assert abs(found.values.item() - known) < 5 * found.standard_error.item() + 0.01
    balls = tarp(true, draws, torch.randn(MANY, 3), levels=(level,))
    side = (balls.values.item() - level) / balls.standard_error.item()
    assert {"right": abs(side) < 5, "wide": side > 10, "narrow": side < -10}[word]


def test_random_points_catch_a_shift():
    true, draws = torch.randn(MANY, 2), 1.0 + torch.randn(99, MANY, 2)
    found = tarp(true, draws, torch.randn(MANY, 2), levels=(0.5,))
    assert abs(found.values.item() - 0.5) > 10 * found.standard_error.item()
