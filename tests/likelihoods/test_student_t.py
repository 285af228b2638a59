"""The Student-t likelihood against scipy, from the Cauchy to the Gaussian."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowerbound.likelihoods.student_t import StudentT, StudentTDistribution
from lowerbound.nets import MLP


def p_of(dof: float, loc: float = 0.0, scale: float = 1.0) -> StudentTDistribution:
    return StudentTDistribution(*(torch.tensor(v, dtype=torch.float64) for v in (dof, loc, scale)))


@settings(deadline=None)
@given(st.floats(0.05, 1e4), st.floats(-5, 5), st.floats(0.01, 100), st.floats(-50, 50))
def test_log_prob_is_scipys(dof, loc, scale, x):
    got = float(p_of(dof, loc, scale).log_prob(torch.tensor(x, dtype=torch.float64)))
    assert got == pytest.approx(stats.t.logpdf(x, dof, loc, scale), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("dof", [0.3, 1.0, 2.5, 3.0, 30.0, 1e5])
def test_moments_and_entropy_are_scipys(dof):
    p = p_of(dof, 1.5, 0.7)
    mean, variance = stats.t.stats(dof, 1.5, 0.7)
    np.testing.assert_allclose(p.mean, mean if dof > 1 else math.nan)
    np.testing.assert_allclose(p.variance, variance if dof > 1 else math.nan, rtol=1e-6)
    np.testing.assert_allclose(p.entropy(), stats.t(dof, 1.5, 0.7).entropy(), rtol=1e-6)


def test_many_degrees_of_freedom_are_gaussian_in_single_precision():
    x = torch.linspace(-4, 4, 9)
    single = StudentTDistribution(torch.tensor(1e7), torch.tensor(0.0), torch.tensor(1.0)).log_prob(x)
    np.testing.assert_allclose(single, stats.norm.logpdf(x), rtol=3e-6, atol=3e-6)


def test_values_and_gradients_are_finite_for_outliers_and_extreme_dof():
    dof = torch.tensor([0.01, 2.0, 1e8]).requires_grad_()
    loc, scale = torch.zeros(3, requires_grad=True), torch.tensor([1e-3, 1.0, 1e3]).requires_grad_()
    log_prob = StudentTDistribution(dof, loc, scale).log_prob(torch.tensor([-1e10, 0.0, 1e10])[:, None])
    assert log_prob.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), [dof, loc, scale]))


@pytest.mark.parametrize("dof, shape, start", [("shared", (), 3.0), ("per-dimension", (2,), 3.0), (7.0, None, 7.0)])
def test_dof_is_learned_as_chosen(dof, shape, start):
    likelihood = StudentT(MLP(2, [], 2), dof=dof)
    p = likelihood(torch.zeros(4, 2))
    torch.testing.assert_close(p.base_dist.dof, torch.full((4, 2), start))
    learned = dict(likelihood.named_parameters()).get("raw_dof")
    assert (None if learned is None else learned.shape) == shape


def test_draws_differentiate_in_every_parameter():
    """d E[x²] = d(s² ν/(ν − 2)): for the scale 2 s ν/(ν − 2), by a z-test over 20000 draws at rate 1e-6."""
    dof, scale = torch.full((20_000,), 9.0).requires_grad_(), torch.full((20_000,), 0.5).requires_grad_()
    x = StudentTDistribution(dof, torch.zeros(()), scale).rsample()
    by_dof, by_scale = torch.autograd.grad((x**2).sum(), [dof, scale])
    for gradient, expected in [(by_scale, 2 * 0.5 * 9 / 7), (by_dof, -2 * 0.25 / 49)]:
        assert abs(gradient.mean() - expected) < 4.9 * gradient.std() / 20_000**0.5
