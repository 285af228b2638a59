"""The estimators that take every objective, on those beyond `ELBO` and `IWAE`, against exact gradients.

False failures: 1e-6. Biases of 2 % of the norm of the gradient are noticed, or the tests refuse to pass.
"""

from __future__ import annotations

import functools

import pytest
import torch

from lowerbound.exact import EnumerableBernoulli, LinearGaussian, normal_bound
from lowerbound.gradients import Pathwise, ScoreFunction, StickTheLanding
from lowerbound.objectives import CUBO, GECO, BetaELBO, CapacityELBO, ChiDivergence, FreeBits, Renyi
from lowerbound.testing import assert_unbiased, flat_gradient
from lowerbound.weights import weigh

POWERS = [Renyi(0.5), Renyi(2.0), CUBO(), ChiDivergence()]
LINEAR = [
    BetaELBO(2.0),
    BetaELBO(0.5, rate="kl"),
    CapacityELBO(3.0, 0.2, 0),
    CapacityELBO(3.0, 5.0, 0),
    FreeBits(0.3, per="group"),
    GECO(1.0),
]
GAUSSIAN_BITS, BERNOULLI_BITS = FreeBits(1.2), FreeBits(0.65)  # between the rates of the two factors
NUM_REPEATS = 64


@functools.cache
def gaussian(dim, num_samples):
    drawn = LinearGaussian.random(2, dim, seed=1)
    exact = LinearGaussian(drawn.weight, drawn.offset, drawn.scale / 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.4
        model.posterior.offset += 1.0
    x = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    return model, x, lambda objective: normal_bound(model, objective, x, num_samples)


@functools.cache
def bernoulli(num_samples):
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    return exact.model(), x, lambda objective: exact.bound(objective, x, num_samples)


def check(case, objective, estimator, num_samples, copies):
    """θ and φ are tested apart, so that neither gradient hides a bias of the other."""
    model, x, exact = case
    estimator.check(objective, model.infer(x), num_samples)
    parameters = [*model.prior.parameters(), *model.likelihood.parameters(), *model.posterior.parameters()]
    num_phi = sum(p.numel() for p in model.posterior.parameters())
    many = x.expand(copies, -1)

    def gradient():  # not by the loss, which refuses to raise an upper bound
        estimate = estimator.estimate(objective, model.infer(many), model.joint(many), num_samples)
        return flat_gradient(estimate.surrogate.mean(), parameters)

    repeats = torch.stack([gradient() for _ in range(NUM_REPEATS)])
    truth = flat_gradient(exact(objective).sum(), parameters)
    sizes = [len(truth) - num_phi, num_phi]
    for got, expected in zip(repeats.split(sizes, 1), truth.split(sizes), strict=True):
        assert_unbiased(lambda got=got: got, expected, num_repeats=NUM_REPEATS, smallest_detectable=0.02)


@pytest.mark.parametrize("objective", POWERS, ids=str)
def test_pathwise_on_power_means(objective):
    check(gaussian(1, 2), objective, Pathwise(), 2, 6_000)


@pytest.mark.parametrize("objective", [*LINEAR, GAUSSIAN_BITS], ids=repr)
def test_pathwise_on_the_objectives_of_the_rate(objective):
    check(gaussian(2, 1), objective, Pathwise(), 1, 6_000)


@pytest.mark.slow
@pytest.mark.parametrize("objective", POWERS, ids=str)
def test_score_function_on_power_means(objective):
    check(bernoulli(2), objective, ScoreFunction(), 2, 8_000)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [*LINEAR, BERNOULLI_BITS], ids=repr)
def test_score_function_on_the_objectives_of_the_rate(objective):
    check(bernoulli(2), objective, ScoreFunction(), 2, 8_000)


@pytest.mark.parametrize("objective", [BetaELBO(2.0), GECO(1.0)], ids=repr)
def test_stick_the_landing_on_linear_objectives(objective):
    check(gaussian(2, 1), objective, StickTheLanding(), 1, 6_000)


@pytest.mark.parametrize(
    "case, bits", [(gaussian(2, 1), GAUSSIAN_BITS), (bernoulli(2), BERNOULLI_BITS)], ids=["gaussian", "bernoulli"]
)
def test_the_cases_have_rates_on_both_sides_of_the_free_bits(case, bits):
    """Or the test of `FreeBits` would be one of the ELBO, or of a constant; and that of `CapacityELBO` of one side."""
    model, x, _ = case
    q = model.infer(x)
    rate = weigh(q, model.joint(x), q.sample((1,)), rate="kl").rate_per_factor
    assert rate.min() < bits.nats - 0.05
    assert rate.max() > bits.nats + 0.05
    assert 0.3 < rate.sum() < 4.0
