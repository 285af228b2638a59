"""The flow-matching prior: its ODE against an exact mixture, its divergence against autograd, its fit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lowerbound.likelihoods import Bernoulli
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import FlowMatching, StandardNormal, fit_prior_to_latents
from lowerbound.priors.continuous_flow import ContinuousFlow

MEANS = torch.tensor([[-1.5, 0.0], [1.0, 1.0], [0.5, -2.0]], dtype=torch.float64)
SCALES = torch.tensor([[0.5, 0.8], [0.4, 0.6], [0.7, 0.3]], dtype=torch.float64)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def mixture():
    return MixtureSameFamily(Categorical(SHARES), Independent(Normal(MEANS, SCALES), 1))


def exact_velocity(z, t):
    """E[dz_t/dt | z_t] of the mixture at times t (..., 1); its components stay normal at every time."""
    cos, sin = (math.pi / 2 * t[..., None]).cos(), (math.pi / 2 * t[..., None]).sin()
    variance = cos**2 + sin**2 * SCALES**2
    of_each = Independent(Normal(sin * MEANS, variance.sqrt()), 1).log_prob(z[..., None, :]) + SHARES.log()
    moved = cos * MEANS + cos * sin * (SCALES**2 - 1) / variance * (z[..., None, :] - sin * MEANS)
    return math.pi / 2 * (of_each.softmax(-1)[..., None] * moved).sum(-2)


def exact_field(z, t):
    """The velocity at one time, and its divergence."""
    time = torch.tensor([t], dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda z: exact_velocity(z, time)))(z)
    return exact_velocity(z, time), jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)


def moved(dim=3, steps=12):
    """A prior away from its start."""
    torch.manual_seed(0)
    prior = FlowMatching(dim, hidden=16, steps=steps).double()
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.4)
    prior.initialize_from_latents(2 * torch.randn(50, dim).double() + 1)
    return prior


def two_blobs(size):
    side = torch.randint(2, (size, 1)).float() * 8 - 4
    return torch.cat([side, torch.zeros(size, 1)], 1) + 0.3 * torch.randn(size, 2)


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Copied(nn.Module):
    """q(z | x) = N(x, 0.1²)."""

    def __init__(self):
        super().__init__()
        self.prior = StandardNormal(2)

    def infer(self, x, context=None):
        return Independent(Normal(x, 0.1), 1)


def test_the_ode_of_the_exact_velocity_gives_the_density_of_a_mixture():
    torch.manual_seed(0)
    z = mixture().sample((200,))
    flow = ContinuousFlow(exact_field, torch.zeros(2).double(), torch.ones(2).double(), steps=64)
    torch.testing.assert_close(flow.log_prob(z), mixture().log_prob(z), atol=1e-5, rtol=0)
    drawn = flow.sample((4000,))
    errors = (mixture().log_prob(drawn).mean() + mixture().log_prob(mixture().sample((4000,))).mean().neg()).abs()
    assert errors < 0.1  # five standard errors of the difference


def test_the_divergence_is_the_trace_of_the_jacobian():
    prior = moved()
    z = torch.randn(5, 3, dtype=torch.float64)
    v, divergence = prior.velocity.field()(z, 0.3)
    time = torch.tensor([0.3], dtype=torch.float64)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda u: prior.velocity(u, time), one) for one in z])
    torch.testing.assert_close(divergence, jacobians.diagonal(dim1=1, dim2=2).sum(-1))
    torch.testing.assert_close(v, prior.velocity(z, time))


@pytest.mark.slow
def test_more_steps_do_not_move_the_density_and_draws_are_of_it():
    prior, finer = moved(), moved(steps=100)
    z = prior().sample((2000,))
    with torch.no_grad():
        torch.testing.assert_close(prior().log_prob(z), finer().log_prob(z), atol=2e-3, rtol=0)
        # E_p[r(z) / p(z)] = 1 for every density r
        normal = Independent(Normal(z.mean(0), 0.7 * z.std(0)), 1)
        ratio = (normal.log_prob(z) - finer().log_prob(z)).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / 2000**0.5)
    assert float(ratio.std()) < 3


def test_it_starts_at_the_standard_normal_and_takes_leading_axes():
    prior = FlowMatching(4)
    z = torch.randn(6, 5, 4)
    torch.testing.assert_close(prior().log_prob(z), StandardNormal(4)().log_prob(z))
    assert prior().log_prob(z).shape == (6, 5)
    assert prior().rsample((3, 2)).shape == (3, 2, 4)


@pytest.mark.slow
def test_it_finds_the_entropy_of_a_known_aggregate_posterior():
    torch.manual_seed(0)
    prior = FlowMatching(2, hidden=64)
    fit = fit_prior_to_latents(prior, Copied(), two_blobs(2000), max_epochs=60, learning_rate=5e-3)
    entropy = math.log(2) + math.log(2 * math.pi * math.e * (0.3**2 + 0.1**2))
    assert -0.05 - 3 * fit.after_error < -entropy - fit.after < 0.15 + 3 * fit.after_error
    assert prior().sample((1000,))[:, 0].abs().sub(4).abs().median() < 0.5


def test_it_learns_in_the_bound_of_a_model():
    torch.manual_seed(0)
    prior = FlowMatching(2, hidden=8)
    posterior = DiagonalNormal(MLP(5, [8], (2, 2)))
    model = LatentVariableModel(prior=prior, likelihood=Bernoulli(MLP(2, [8], 5)), posterior=posterior)
    w = model.log_weights(torch.ones(3, 5), num_samples=7)
    assert w.log_w.shape == (7, 3)
    w.log_w.mean().backward()
    assert prior.velocity.last.weight.grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in posterior.parameters())
    assert model.sample(4).shape == (4, 5)


def test_the_loss_is_that_of_matching_at_the_minimiser():
    """For z ~ N(0, I) the velocity at the start, 0, is the minimiser: the loss is the mean of var[dz_t/dt | z_t], which
    is (π / 2)² for each element at every time.
    """
    torch.manual_seed(0)
    losses = FlowMatching(3).fitting_loss(torch.randn(20_000, 3)).detach()
    assert losses.shape == (20_000,)
    exact = 3 * (math.pi / 2) ** 2
    assert float(losses.mean()) == pytest.approx(exact, abs=5 * float(losses.std()) / 20_000**0.5)
    assert float(losses.std()) < 5


def test_the_exact_velocity_of_a_mixture_minimises_the_loss():
    """There the derivative of the mean loss along another field is 0, and at the standard normal it is not."""
    torch.manual_seed(0)
    z = mixture().sample((5000,))

    def scores(velocity):
        prior = FlowMatching(2).double()
        by = torch.zeros(len(z), 1, dtype=torch.float64, requires_grad=True)
        prior.velocity = Called(lambda z, t: velocity(z, t) + by * z * t)
        slopes = torch.autograd.grad(prior.fitting_loss(z).sum(), by)[0]
        return float(slopes.mean() / slopes.std()) * len(z) ** 0.5

    assert abs(scores(exact_velocity)) < 5
    assert abs(scores(lambda z, t: 0 * z)) > 10


def test_its_gradient_is_that_of_differences():
    prior = moved(steps=4)
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: prior().log_prob(z), z)


def test_the_closing_loss_is_minus_the_log_density_by_two_thirds_of_the_steps():
    prior = moved(steps=6)
    z = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(prior.closing_loss(z), -moved(steps=4)().log_prob(z))


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="steps=0"):
        FlowMatching(2, steps=0)
    with pytest.raises(ValueError, match="steps=1,000 and takes at most"):
        FlowMatching(2, steps=1000)
    with pytest.raises(ValueError, match="over vectors"):
        FlowMatching((2, 3))
