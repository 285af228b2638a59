"""The last steps of a fit by a prior's own loss are on −log p(z): on a prior that nothing else moves, and a mixture."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lowerbound.priors import FlowMatching, StandardNormal, closing, fit_prior_to_latents
from lowerbound.priors.closing import Course


class Copied(nn.Module):
    """q(z | x) = N(x, 0.1²)."""

    def __init__(self):
        super().__init__()
        self.prior = StandardNormal(2)

    def infer(self, x, context=None):
        return Independent(Normal(x, 0.1), 1)


class Unmoved(nn.Module):
    """N(μ, I) with a loss of its own that has no gradient."""

    fitting_rate = 0.5

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))

    def forward(self, context=None):
        return Independent(Normal(self.mean, 1.0), 1)

    def fitting_loss(self, z, context=None):
        return z.sum(-1) * 0 + 0 * self.mean.sum()


def two_blobs(size):
    side = torch.randint(2, (size, 1)).float() * 8 - 4
    return torch.cat([side, torch.zeros(size, 1)], 1) + 0.3 * torch.randn(size, 2)


def test_the_last_tenth_of_the_steps_moves_a_prior_that_its_own_loss_leaves_alone():
    x = 2 + 0.1 * torch.randn(30, 2)  # one step an epoch
    prior = Unmoved()
    fit = fit_prior_to_latents(prior, Copied(), x, max_epochs=9, patience=100)
    assert prior.mean.abs().max() == 0
    assert fit.gain == 0
    fit = fit_prior_to_latents(prior, Copied(), x, max_epochs=19, patience=100)
    assert (prior.mean > 0.1).all()
    assert fit.last_learning_rate == 0.5  # the rate that the prior has of its own
    assert fit.gain > 0
    given = Unmoved()
    fit_prior_to_latents(given, Copied(), x, max_epochs=19, patience=100, learning_rate=0.1)
    torch.testing.assert_close(given.mean.detach(), prior.mean.detach() / 5)


def test_with_its_close_a_fit_is_nearer_to_a_known_density(monkeypatch):
    """E[log q(z)] − E[log p(z)] of held-out codes, with q(z) the two normals that the codes are of."""

    def gap():
        torch.manual_seed(0)
        prior = FlowMatching(2, hidden=32, steps=6)
        fit = fit_prior_to_latents(prior, Copied(), two_blobs(1000), max_epochs=40, patience=40, batch_size=200)
        return -math.log(2) - math.log(2 * math.pi * math.e * (0.3**2 + 0.1**2)) - fit.after

    closed = gap()
    monkeypatch.setattr(closing, "_CLOSING_STEPS", 0)
    assert closed < gap() - 0.02


def test_rates_fall_to_a_hundredth_twice():
    course = Course(1.0, 4000)
    assert [course(0), course(3700)] == [1.0, 1.0]
    assert [course(3699), course(3999)] == pytest.approx([0.01, 0.01], rel=0.01)
    assert [Course(1.0, n).closing for n in (0, 9, 10, 2990, 5000)] == [0, 0, 1, 299, 300]
    assert not Course(1.0, 5).closes(4)
    assert "the last 300 of 4,000 steps by −log p(z); in both parts its rate falls from 1 to" in course.told
    assert "with ten steps or more" in Course(1.0, 5).told
