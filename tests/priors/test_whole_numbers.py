"""Priors of whole numbers: masses that sum to one and are those of scipy, and draws that have them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from lowerbound.nets import MLP
from lowerbound.priors import FactorizedCumulative, NoisyNormal
from lowerbound.priors.noisy_normal import NoisyNormalDistribution, log_mass_of_normal
from lowerbound.testing import check_conditional


@pytest.fixture
def factorized() -> FactorizedCumulative:
    """Three channels, of which the factors bend the distribution functions."""
    torch.manual_seed(0)
    prior = FactorizedCumulative((3, 2, 1)).double()
    with torch.no_grad():
        for factor in prior.factors:
            factor.uniform_(-2, 2)
    return prior


def test_masses_of_all_whole_numbers_sum_to_one(factorized):
    k = torch.arange(-400.0, 401.0, dtype=torch.float64)
    terms = factorized().log_mass(k[:, None, None, None].expand(-1, 3, 2, 1))
    torch.testing.assert_close(terms.exp().sum(0), torch.ones(3, 2, 1, dtype=torch.float64))


def test_density_of_noisy_numbers_integrates_to_one(factorized):
    z = torch.linspace(-400, 400, 80_001, dtype=torch.float64)
    density = factorized().log_mass(z[:, None, None, None].expand(-1, 3, 1, 1)).exp()[:, :, 0, 0]
    torch.testing.assert_close(torch.trapezoid(density, z, dim=0), torch.ones(3, dtype=torch.float64))


def test_cumulative_is_the_sum_of_the_masses(factorized):
    k = torch.arange(-5.0, 6.0, dtype=torch.float64)
    mass = factorized().log_mass(k[:, None, None, None].expand(-1, 3, 1, 1)).exp()[:, :, 0, 0]
    f = factorized().cumulative_at(-5, 5)[:, 0, 0]
    np.testing.assert_allclose(np.diff(f, axis=-1).T, mass[1:].detach(), rtol=1e-9)


def test_mass_of_a_normal_is_that_of_scipy_far_into_its_tails():
    z, loc, scale = (torch.tensor(v, dtype=torch.float64) for v in ([-30.0, -1, 0.3, 7, 60], 0.4, [3.0, 0.2, 1, 2, 5]))
    far = scipy.stats.norm(loc, scale)
    upper = np.where(z < 0.4, far.logcdf(z + 0.5), far.logsf(z - 0.5))
    lower = np.where(z < 0.4, far.logcdf(z - 0.5), far.logsf(z + 0.5))
    exact = upper + np.log1p(-np.exp(lower - upper))
    np.testing.assert_allclose(log_mass_of_normal(z, loc, scale), exact, rtol=1e-9)


def test_cumulative_of_a_normal_is_that_of_its_masses():
    p = NoisyNormalDistribution(torch.tensor([[0.3]]).double(), torch.tensor([[1.7]]).double(), 1)
    k = torch.arange(-3.0, 4.0, dtype=torch.float64)
    np.testing.assert_allclose(np.diff(p.cumulative_at(-4, 3)[0, 0]), p.log_mass(k[:, None])[:, 0].exp(), rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_draws_have_the_masses(factorized, seed):
    """Frequencies of 4,000 draws within 6 standard errors."""
    torch.manual_seed(seed)
    z = factorized().sample((4_000,))
    assert bool((z == z.round()).all())
    for k in (-1, 0, 1):
        mass = factorized().log_mass(torch.full((1, 3, 2, 1), float(k)).double()).exp()[0]
        error = (mass * (1 - mass) / 4_000).sqrt()
        assert bool((((z == k).double().mean(0) - mass).abs() < 6 * error + 1e-9).all())


def test_both_conform(factorized):
    check_conditional(factorized)
    torch.manual_seed(0)
    normal = NoisyNormal(MLP(3, [4], (2, 5)).double())
    check_conditional(normal, torch.randn(4, 3, dtype=torch.float64))
