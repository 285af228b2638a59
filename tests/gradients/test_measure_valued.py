"""Measure-valued derivatives against exact gradients, also where there is no derivative along z."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal

from lowerbound.exact import EnumerableBernoulli, LinearGaussian, normal_bound
from lowerbound.gradients import MeasureValued
from lowerbound.gradients.measure_valued import maxwell, weibull
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.testing import assert_unbiased, check_gradient, flat_gradient

ELBOS = [ELBO(), ELBO(rate="entropy"), ELBO(rate="kl")]


def gaussian():
    drawn = LinearGaussian.random(2, 2, seed=1)
    model = drawn.model(drawn.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.4
        model.posterior.offset += torch.tensor([1.0, -0.5])
    return model, torch.tensor([[0.5, 0.0]], dtype=torch.float64)


def nonlinear():
    torch.manual_seed(2)
    model = LatentVariableModel(
        prior=StandardNormal(1),
        likelihood=Bernoulli(MLP(1, [5], 3, torch.nn.Tanh)),
        posterior=DiagonalNormal(MLP(3, [], (2, 1))),
    ).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)
    return model, torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("case", [gaussian, nonlinear])
@pytest.mark.parametrize("objective", ELBOS, ids=str)
def test_unbiased(case, objective):
    model, x = case()
    theta, phi = [*model.likelihood.parameters()], [*model.posterior.parameters()]
    exact = normal_bound(model, objective, x, 1).sum()
    loss = VariationalLoss(model, objective, MeasureValued(), 2)
    loss.check(x)
    many = x.expand(4_000, -1)
    repeats = torch.stack([flat_gradient(-loss(many).loss, [*theta, *phi]) for _ in range(64)])
    sizes = [sum(p.numel() for p in part) for part in (theta, phi)]
    truth = flat_gradient(exact, [*theta, *phi]).split(sizes)
    for got, expected in zip(repeats.split(sizes, 1), truth, strict=True):
        assert_unbiased(lambda got=got: got, expected, num_repeats=64)


class TrainingStep:
    """log p(x | z) = 1 where every z_d > 0 and 0 elsewhere; p(z) as q, so that nothing else depends on z."""

    def __init__(self, prior):
        self.prior, self.x, self.rows = prior, torch.zeros(1, 1), 0

    def __call__(self, z):
        self.rows += z.shape[0]
        return (z > 0).all(-1).to(z), torch.zeros_like(z[..., 0])


@pytest.mark.slow
def test_a_jump_has_a_gradient():
    """E[1(z > 0)] = Π_d Φ(μ_d/σ_d), of which a pathwise derivative sees nothing."""
    loc = torch.tensor([[0.3, -0.2]], dtype=torch.float64).expand(20_000, -1).clone().requires_grad_()
    scale = torch.tensor([[0.7, 1.5]], dtype=torch.float64).expand(20_000, -1).clone().requires_grad_()
    q = Independent(Normal(loc, scale), 1)
    objective = ELBO(rate="entropy")

    def once():
        value = MeasureValued().estimate(objective, q, TrainingStep(q), 1).surrogate.sum()
        return torch.cat([g.mean(0) for g in torch.autograd.grad(value, [loc, scale])])[None]

    a = torch.tensor([[0.3, -0.2], [0.7, 1.5]], dtype=torch.float64, requires_grad=True)
    truth = torch.special.ndtr(a[0] / a[1]).prod() + a[1].log().sum()  # the entropy but for a constant
    (exact,) = torch.autograd.grad(truth, a)
    assert_unbiased(once, exact.flatten(), num_repeats=64)


def test_a_sample_costs_three_evaluations_a_dimension_and_one():
    q = Independent(Normal(torch.zeros(6, 5, requires_grad=True), torch.ones(6, 5)), 1)
    joint = TrainingStep(q)
    MeasureValued().estimate(ELBO(), q, joint, 4)
    assert joint.rows == 4 * (3 * 5 + 1)
    joint = TrainingStep(q)
    with torch.no_grad():
        MeasureValued().estimate(ELBO(), q, joint, 4)
    assert joint.rows == 4


def test_the_noise_has_the_stated_densities():
    """Kolmogorov–Smirnov, rejecting a true one with probability 1e-6; and ε = u m is standard normal."""
    like = torch.zeros(50_000, dtype=torch.float64)
    r, m = weibull(like), maxwell(like)
    u = torch.rand_like(m)
    draws = [(r, stats.rayleigh.cdf), (m.abs(), stats.maxwell.cdf), (u * m, stats.norm.cdf)]
    assert all(stats.kstest(x.numpy(), cdf).pvalue > 1e-6 for x, cdf in draws)
    assert abs((m > 0).double().mean() - 0.5) < 5 * 0.5 / math.sqrt(50_000)
    assert (like == 0).all()


@pytest.mark.parametrize("case", [gaussian, nonlinear])
def test_conformance(case):
    model, x = case()
    assert check_gradient(MeasureValued(), ELBO(), model, x.expand(3, -1))


def test_refusals():
    model, x = gaussian()
    with pytest.raises(ValueError, match=r"use Pathwise\(\) or ScoreFunction\(\)"):
        MeasureValued().check(IWAE(), model.infer(x), 2)
    binary = EnumerableBernoulli.random(2, 3).model().infer(torch.zeros(1, 3, dtype=torch.float64))
    full = LinearGaussian.random(2, 2).model().infer(x)
    for q in (binary, full):
        with pytest.raises(ValueError, match=r"DiagonalNormal posterior.*use Pathwise\(\)"):
            MeasureValued().check(ELBO(), q, 2)
