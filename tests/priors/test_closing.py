"""A fit by a prior's own loss ends by steps on −log p(z): on a prior that nothing else moves, and two normals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lowerbound.priors import FlowMatching, StandardNormal, fit_prior_to_latents
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

    def closing_loss(self, z, context=None):
        return -self(context).log_prob(z)


def two_blobs(size):
    side = torch.randint(2, (size, 1)).float() * 8 - 4
    return torch.cat([side, torch.zeros(size, 1)], 1) + 0.3 * torch.randn(size, 2)


def test_the_second_half_of_the_steps_moves_a_prior_that_its_own_loss_leaves_alone():
    x = 2 + 0.1 * torch.randn(30, 2)  # one step an epoch
    prior = Unmoved()
    fit = fit_prior_to_latents(prior, Copied(), x, max_epochs=2)
    assert (prior.mean > 0.1).all()
    assert fit.last_learning_rate == 0.5  # the rate that the prior has of its own
    assert fit.gain > 0
    given = Unmoved()
    fit_prior_to_latents(given, Copied(), x, max_epochs=2, learning_rate=0.1)
    torch.testing.assert_close(given.mean.detach(), prior.mean.detach() / 5)


def test_patience_counts_in_the_second_half_alone():
    """No step of the first half makes the prior better: it would have ended before the second begins."""
    x = 2 + 0.1 * torch.randn(30, 2)
    prior = Unmoved()
    fit = fit_prior_to_latents(prior, Copied(), x, max_epochs=20, patience=3, learning_rate=0.05)
    assert fit.num_epochs == 20
    assert (prior.mean > 0.1).all()
    fit = fit_prior_to_latents(Unmoved(), Copied(), x, max_epochs=20, patience=3, learning_rate=0.0)
    assert fit.num_epochs == 10 + 3


def test_with_its_close_a_fit_is_nearer_to_a_known_density(monkeypatch):
    """E[log q(z)] − E[log p(z)] of held-out codes, with q(z) the two normals that the codes are of."""

    def gap():
        torch.manual_seed(0)
        prior = FlowMatching(2, hidden=16, steps=6)
        fit = fit_prior_to_latents(prior, Copied(), two_blobs(1000), max_epochs=30, batch_size=200)
        return -math.log(2) - math.log(2 * math.pi * math.e * (0.3**2 + 0.1**2)) - fit.after

    closed = gap()
    monkeypatch.setattr(Course, "begin", property(lambda self: self.num_steps))
    assert closed < gap() - 0.02


def test_rates_fall_to_a_hundredth_in_both_parts():
    course = Course(1.0, 4000, has_own_loss=True)
    assert [course(0), course(2000)] == [1.0, 1.0]
    assert [course(1999), course(3999)] == pytest.approx([0.01, 0.01], rel=0.01)
    assert [Course(1.0, n, True).begin for n in (0, 1, 2, 5)] == [0, 0, 1, 2]
    assert not course.closes(1999)
    assert course.closes(2000)
    assert "Of 4,000 steps the prior learns by its own loss for 2,000 and by −log p(z) for 2,000" in course.told
    assert "its rate falls from 1 to a hundredth" in course.told


def test_a_prior_without_a_loss_of_its_own_has_one_part():
    course = Course(1.0, 4000)
    assert course.closes(0)
    assert course(2000) == pytest.approx(0.505)
    assert course.told == "The prior learns by −log p(z), at a rate that falls from 1 to a hundredth."
