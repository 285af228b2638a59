"""Averages over data against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from lowerbound.evaluate import rate_distortion, summary
from lowerbound.evaluate.posterior_moments import mean_of
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.model import LatentVariableModel
from lowerbound.models.sequence import autoregressive_rows


def gaussian():
    """Three latents of which the third changes nothing."""
    exact = LinearGaussian.random(4, 3)
    weight = exact.weight.clone()
    weight[:, 2] = 0
    exact = LinearGaussian(weight, exact.offset, exact.scale)
    return exact, exact.model(exact.posterior_module(diagonal=True)), exact.sample(500)


def test_a_gaussian_model_against_closed_forms():
    exact, model, x = gaussian()
    got = summary(model, x, num_samples=64)
    q = model.infer(x)
    kl = kl_divergence(q.base_dist, Normal(torch.zeros_like(q.mean), 1.0))
    assert torch.allclose(got.rate_per_dimension, kl.mean(0).detach())
    assert abs(got.rate - kl.sum(1).mean().item()) < 0.05
    assert abs(got.elbo - exact.optimal_elbo(x).mean().item()) < 0.05
    assert math.isclose(got.elbo, -got.rate - got.distortion, rel_tol=1e-9)
    assert torch.allclose(got.activity, q.mean.var(0).detach())
    assert got.active_units == 2
    assert abs(got.elbo_standard_error - exact.optimal_elbo(x).std().item() / 500**0.5) < 0.02
    assert math.isclose(got.bits_per_dim, -got.elbo / (4 * math.log(2)))
    assert (got.num_data, got.num_samples, got.num_dimensions) == (500, 64, 4)


def test_a_full_covariance_has_no_rate_per_dimension():
    exact, _, x = gaussian()
    assert summary(exact.model(), x).rate_per_dimension is None


def test_a_discrete_model():
    exact = EnumerableBernoulli.random(3, 4)
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    got = summary(exact.model(), x, num_samples=5000)
    assert abs(got.elbo - exact.elbo(x).mean().item()) < 0.05
    assert torch.allclose(got.activity, exact.model().infer(x).mean.var(0).detach())
    assert abs(got.rate_per_dimension.sum().item() - got.rate) < 0.05


class Opaque(Distribution):
    """A Gaussian that states neither its mean nor that it is a product."""

    has_rsample = True

    def __init__(self, base):
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def rsample(self, sample_shape=()):
        return self.base.rsample(torch.Size(sample_shape))

    def log_prob(self, value):
        return self.base.log_prob(value)


class Hidden(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, context=None):
        return Opaque(self.inner(context))


def test_activity_from_samples_is_not_inflated_by_their_noise(monkeypatch):
    """The dead latent has a posterior variance of one: a sampled mean varies by 1/S, which is taken off again."""
    _, model, x = gaussian()
    closed = summary(model, x)
    hidden = LatentVariableModel(prior=model.prior, likelihood=model.likelihood, posterior=Hidden(model.posterior))
    monkeypatch.setattr(rate_distortion, "mean_of", lambda q: mean_of(q, 16))
    got = summary(hidden, x, num_samples=16)
    assert torch.allclose(got.activity, closed.activity, atol=0.05)
    assert abs(got.activity[2]) < 0.02  # 1/16 if it were not
    assert got.rate_per_dimension is None


def test_per_dimension_rate_without_a_closed_form():

    class Posterior(torch.nn.Module):
        def forward(self, context):
            loc = context[:, :2]
            return Independent(torch.distributions.Laplace(loc, torch.ones_like(loc)), 1)

    exact = LinearGaussian.random(2, 2)
    model, x = exact.model(Posterior()), exact.sample(50)
    got = summary(model, x, num_samples=4000)
    laplace = torch.distributions.Laplace(x, torch.ones_like(x))
    expected = -laplace.entropy() + 0.5 * (math.log(2 * math.pi) + x**2 + 2)
    assert torch.allclose(got.rate_per_dimension, expected.mean(0), atol=0.05)


def test_blocks_of_rows_give_the_same_averages():
    _, model, x = gaussian()
    one, many = summary(model, x, num_samples=200), summary(model, x, num_samples=200, max_elements=4 * 200 * 7)
    assert abs(one.elbo - many.elbo) < 0.05
    assert torch.allclose(one.activity, many.activity)


@pytest.mark.filterwarnings("error")
def test_a_model_without_latents_has_no_activity():
    told = summary(autoregressive_rows((3, 2), hidden=[4], recurrent_dim=4), torch.zeros(5, 3, 2))
    assert told.activity.shape == (0,)
    assert told.active_units == told.rate == 0
