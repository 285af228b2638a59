"""The parts of the rate against closed forms and against a mixture written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from lowerbound import posteriors
from lowerbound.evaluate import aggregate_posterior, summary
from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.posteriors import AuxiliaryNormal


def gaussian(num_data=3000):
    """A posterior whose aggregate is a correlated Gaussian, not the prior."""
    exact = LinearGaussian.random(4, 2)
    weight = torch.tensor([[0.5, -0.2, 0.4, 0.1], [0.4, 0.1, 0.4, -0.3]], dtype=torch.float64)
    posterior = AffineNormal(weight, torch.tensor([0.2, -0.4]).double(), log_scale=torch.tensor([-0.5, -0.2]).double())
    torch.manual_seed(0)
    return exact, exact.model(posterior), exact.sample(num_data)


def closed_forms(exact, posterior):
    """q(z) = N(A μ + c, A Σ Aᵀ + S) over the law of x."""
    of_x = exact.weight @ exact.weight.mT + torch.diag(exact.scale**2)
    noise = posterior.log_scale.exp().square()
    covariance = posterior.weight @ of_x @ posterior.weight.mT + torch.diag(noise)
    aggregate = MultivariateNormal(posterior.weight @ exact.offset + posterior.offset, covariance)
    prior = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    each = Normal(aggregate.mean, covariance.diagonal().sqrt())
    return {
        "mutual_information": 0.5 * (torch.logdet(covariance) - noise.log().sum()),
        "marginal_kl": kl_divergence(aggregate, prior),
        "total_correlation": 0.5 * (covariance.diagonal().log().sum() - torch.logdet(covariance)),
        "kl_per_dimension": kl_divergence(each, Normal(torch.zeros(2).double(), 1.0)),
    }


def test_a_gaussian_aggregate_in_closed_form():
    exact, model, x = gaussian()
    with torch.no_grad():
        truth = closed_forms(exact, model.posterior)
    got = aggregate_posterior(model, x, num_samples=2)
    assert truth["total_correlation"] > 0.05  # there is something to find
    for name in ("mutual_information", "marginal_kl", "total_correlation"):
        part = getattr(got, name)
        assert abs(part.mean - truth[name]) < 4.5 * part.standard_error_of_mean + 0.005, name
        assert part.standard_error_of_mean < 0.03
    for part, exactly in zip(got.kl_per_dimension, truth["kl_per_dimension"], strict=True):
        assert abs(part.mean - exactly) < 4.5 * part.standard_error_of_mean + 0.005


@pytest.mark.slow
def test_the_stated_error_is_the_spread_over_data_sets():
    """log q(z) is of the same data as the draws; that it changes with them adds nothing to first order."""
    exact, model, _ = gaussian(1)
    runs = [aggregate_posterior(model, exact.sample(300), num_samples=2, seed=s) for s in range(60)]
    for name in ("mutual_information", "marginal_kl", "total_correlation", "rate"):
        means = torch.tensor([getattr(run, name).mean for run in runs])
        stated = torch.tensor([getattr(run, name).standard_error_of_mean for run in runs]).mean()
        assert 0.7 < means.std() / stated < 1.4, name


def test_against_the_mixture_written_out():
    _, model, x = gaussian(40)
    with torch.no_grad():
        q = model.infer(x)
        got = aggregate_posterior(model, x, num_samples=500, max_elements=1000)
        mixture = MixtureSameFamily(Categorical(torch.ones(40).double()), q)
        z = q.sample((4000,))
        inside = (q.log_prob(z) - mixture.log_prob(z)).mean(0)
    error = got.mutual_information.standard_error * (1 + 1 / 8) ** 0.5
    assert ((got.mutual_information.values - inside).abs() < 5 * error).all()
    assert 0.5 < ((got.mutual_information.values - inside) / error).std() < 1.5


@pytest.mark.parametrize("full", [False, True])
def test_identities_hold_to_rounding(full):
    exact, model, x = gaussian(50)
    model = exact.model() if full else model
    got = aggregate_posterior(model, x, num_samples=7)
    parts = got.mutual_information.values + got.marginal_kl.values
    assert torch.allclose(got.rate.values, parts, atol=1e-10)
    assert got.mutual_information.mean <= math.log(50) + 1e-9
    if full:
        assert got.total_correlation is None
        assert got.kl_per_dimension is None
        return
    whole = got.total_correlation.values + sum(part.values for part in got.kl_per_dimension)
    assert torch.allclose(got.marginal_kl.values, whole, atol=1e-10)
    assert abs(got.rate.mean - summary(model, x).rate) < 0.3


def test_data_that_are_told_apart_perfectly_have_log_n():
    exact, model, _ = gaussian(1)
    with torch.no_grad():
        model.posterior.log_scale.fill_(-12.0)
    got = aggregate_posterior(model, exact.sample(30), num_samples=3)
    assert math.isclose(got.mutual_information.mean, math.log(30), rel_tol=1e-9)
    assert got.mutual_information.standard_error.max() < 1e-6


def test_slices_change_nothing_but_rounding():
    _, model, x = gaussian(40)
    runs = [aggregate_posterior(model, x, num_samples=4, max_elements=size) for size in (4 * 40, 2**20)]
    one, many = (run.total_correlation.values for run in runs)
    assert torch.allclose(one, many, rtol=1e-10)


def test_a_discrete_model_by_enumeration():
    exact = EnumerableBernoulli.random(3, 4)
    model, x = exact.model(), torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    with torch.no_grad():
        log_q = model.infer(x).log_prob(exact.states[:, None].double())  # (state, datum)
        q = log_q.exp()
        aggregate = q.mean(1)
        information = (q * (log_q - aggregate.log()[:, None])).sum(0).mean()
        marginals = (aggregate[:, None] * exact.states).sum(0)
        separate = Independent(torch.distributions.Bernoulli(marginals), 1).log_prob(exact.states.double())
        correlation = (aggregate * (aggregate.log() - separate)).sum()
    got = aggregate_posterior(model, x, num_samples=20_000)
    assert abs(got.mutual_information.mean - information) < 5 * got.mutual_information.sampling_error_of_mean
    assert abs(got.total_correlation.mean - correlation) < 5 * got.total_correlation.sampling_error_of_mean
    assert correlation > 0.005


class Implicit(Normal):
    def log_prob(self, value):
        raise NotImplementedError


class Opaque(torch.nn.Module):
    def forward(self, context=None):
        return Implicit(context[:, 0], torch.ones_like(context[:, 0]))


class ContextualPrior(torch.nn.Module):
    def forward(self, context=None):
        return Independent(Normal(context, torch.ones_like(context)), 1)


def test_refusals():
    exact, model, x = gaussian(10)
    with pytest.raises(ValueError, match="Implicit has none; choose a posterior with a density"):
        aggregate_posterior(exact.model(Opaque()), x)
    with pytest.raises(ValueError, match="num_samples=0"):
        aggregate_posterior(model, x, num_samples=0)
    with pytest.raises(ValueError, match="one row of context for each"):
        aggregate_posterior(model, x, context=x[:2])
    conditional = LatentVariableModel(
        prior=ContextualPrior(), likelihood=model.likelihood, posterior=posteriors.DiagonalNormal(MLP(4, [], (2, 2)))
    )
    with pytest.raises(ValueError, match="depends on the context"):
        aggregate_posterior(conditional, x, context=x[:, :2])
    auxiliary = AuxiliaryNormal(MLP(4, [], AuxiliaryNormal.parameter_shape(2)), 2).double()
    with pytest.raises(ValueError, match="has none; choose a posterior with a density"):
        aggregate_posterior(exact.model(auxiliary), x)
