"""Estimators for discrete latents against exact gradients by enumeration, and how large the bias of the biased ones is.

One call averages over thousands of copies of a datum; the calls give the standard error. False failures: 1e-6. Biases
of 4 % of the norm of the gradient are noticed, or the test refuses to pass: an error of sign, a forgotten term or a
factor makes ten times as much.
"""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from torch.nn.functional import one_hot

from lowerbound import posteriors, priors
from lowerbound.exact import EnumerableBernoulli
from lowerbound.exact.expectation import expectation
from lowerbound.gradients import ARM, REBAR, RELAX, Concrete, DisARM, StraightThrough
from lowerbound.gradients.discrete import Bits
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.testing import assert_unbiased, flat_gradient
from lowerbound.weights import weigh

NUM_SAMPLES, NUM_REPEATS, DETECTABLE = 2, 64, 0.04


@functools.cache
def linear():
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    return exact.model(), x, lambda objective: exact.bound(objective, x, NUM_SAMPLES)


LINEAR = pytest.param(linear, marks=pytest.mark.slow)  # the same code as the nonlinear case


@functools.cache
def nonlinear():
    exact = EnumerableBernoulli.random(3, 4, (3,), seed=1)
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    return exact.model(), x, lambda objective: exact.bound(objective, x, NUM_SAMPLES)


@functools.cache
def categorical():
    torch.manual_seed(1)
    model = LatentVariableModel(
        prior=priors.Categorical(2, categories=3),
        likelihood=Bernoulli(MLP((2, 3), [4], 3, torch.nn.Tanh)),
        posterior=posteriors.Categorical(MLP(3, [], (2, 3)), categories=3),
    ).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(2 * torch.randn_like(p))
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    states = one_hot(torch.tensor(list(itertools.product(range(3), repeat=2))), 3).double()[:, None]

    def exact(objective):
        q = model.infer(x)
        w = weigh(q, model.joint(x), states, rate=objective.rate)
        return expectation(objective, w, q.log_prob(states), NUM_SAMPLES)

    return model, x, exact


def rebar():
    estimator = REBAR(0.8).double()
    with torch.no_grad():
        estimator.scale.fill_(0.7)
    return estimator


def relax(latent_dim, event_shape, categories=None):
    """With a control variate that has been learned badly, so that nothing about it cancels by itself."""
    torch.manual_seed(2)
    estimator = RELAX(latent_dim, event_shape, categories, hidden=4, temperature=0.8).double()
    with torch.no_grad():
        estimator.scale.fill_(0.7)
        for p in estimator.net.parameters():
            p.copy_(torch.randn_like(p))
    return estimator


def gradients(case, objective, estimator, copies, repeats=NUM_REPEATS):
    """Repetitions for θ and for φ, and the truth of each."""
    model, x, exact = case()
    loss = VariationalLoss(model, objective, estimator, NUM_SAMPLES)
    loss.check(x)
    theta, phi = [*model.prior.parameters(), *model.likelihood.parameters()], [*model.posterior.parameters()]
    sizes, parameters = [sum(p.numel() for p in part) for part in (theta, phi)], [*theta, *phi]
    many = x.expand(copies, -1)
    got = torch.stack([flat_gradient(-loss(many).loss, parameters) for _ in range(repeats)])
    truth = flat_gradient(exact(objective).sum(), parameters)
    return list(zip(got.split(sizes, 1), truth.split(sizes), strict=True))


def check(case, objective, estimator, copies):
    for got, expected in gradients(case, objective, estimator, copies):
        assert_unbiased(lambda got=got: got, expected, num_repeats=NUM_REPEATS, smallest_detectable=DETECTABLE)


# A sampled rate, and IWAE, are in `tests/test_matrix.py`, for every estimator.


@pytest.mark.parametrize("case", [LINEAR, nonlinear])
@pytest.mark.parametrize("estimator", [ARM(), DisARM()], ids=str)
def test_antithetic(case, estimator):
    check(case, ELBO(rate="kl"), estimator, 1_000)


@pytest.mark.parametrize("case", [LINEAR, nonlinear, categorical])
def test_rebar(case):
    check(case, ELBO(rate="kl"), rebar(), 1_000)


@pytest.mark.parametrize(
    "case, make",
    [(nonlinear, lambda: relax(3, 4)), (categorical, lambda: relax(2, 3, 3))],
    ids=["nonlinear", "categorical"],
)
def test_relax(case, make):
    check(case, ELBO(), make(), 500)


BIASED = [Concrete(1.0), Concrete(0.5), StraightThrough(), StraightThrough(1.0)]


@pytest.mark.parametrize("case", [nonlinear, categorical])
@pytest.mark.parametrize("estimator", BIASED, ids=["concrete-1", "concrete-0.5", "straight-through", "gumbel-1"])
def test_the_biased_are_unbiased_for_theta_and_biased_indeed_for_phi(case, estimator):
    theta, phi = gradients(case, ELBO(), estimator, 1_000)
    assert_unbiased(lambda: theta[0], theta[1], num_repeats=NUM_REPEATS, smallest_detectable=DETECTABLE)
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: phi[0], phi[1], num_repeats=NUM_REPEATS, smallest_detectable=DETECTABLE)


@pytest.mark.slow
@pytest.mark.parametrize("case", [LINEAR, nonlinear, categorical])
def test_the_bias_of_the_concrete_falls_with_its_temperature_and_its_noise_grows(case):
    bias, noise = [], []
    for temperature in (1.0, 0.5, 0.1):
        _, (got, exact) = gradients(case, ELBO(), Concrete(temperature), 10_000, 16)
        bias.append(float((got.mean(0) - exact).norm() / exact.norm()))
        noise.append(float(got.std(0).norm() / exact.norm()))
    assert bias[0] > 1.3 * bias[1] > 1.69 * bias[2]
    assert bias[2] < 0.06
    assert noise[0] < noise[1] < noise[2]


class Multilinear:
    """f(z) = z_1 + 3 z_1 z_2 − 2 z_2: linear in each bit."""

    prior = Bits().distribution(torch.zeros(1, 2, dtype=torch.float64))
    x = torch.zeros(1, 1)

    def __call__(self, z):
        return z[..., 0] + 3 * z[..., 0] * z[..., 1] - 2 * z[..., 1], self.prior.log_prob(z)


def test_straight_through_is_exact_where_the_objective_is_linear_in_each_bit():
    """And its Gumbel form is not."""
    logits = torch.tensor([[1.0, -0.5]], dtype=torch.float64, requires_grad=True)
    pi = logits.sigmoid()
    f = pi[:, 0] + 3 * pi[:, 0] * pi[:, 1] - 2 * pi[:, 1]
    kl = (pi * logits + torch.nn.functional.logsigmoid(-logits)).sum(-1) + 2 * torch.tensor(2.0).log()
    truth = flat_gradient((f - kl).sum(), [logits])
    joint = Multilinear()

    def repeat(estimator):
        many = logits.expand(10_000, 2)
        surrogate = estimator.estimate(ELBO(), Bits().distribution(many), joint, NUM_SAMPLES).surrogate
        return flat_gradient(surrogate.mean(), [logits])

    assert_unbiased(lambda: repeat(StraightThrough()), truth)
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: repeat(StraightThrough(1.0)), truth)
