"""Rao-Blackwellised score function on every draw that it could make: exact means and variances."""

from __future__ import annotations

import itertools

import pytest
import torch
from every_draw import every_draw, exact, logits_of

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import RaoBlackwell, ScoreFunction
from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import Categorical
from lowerbound.priors import AutoregressiveBernoulli, StandardNormal
from lowerbound.priors import Categorical as CategoricalPrior
from lowerbound.testing import assert_unbiased, check_gradient, flat_gradient

X = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)


def binary():
    case = EnumerableBernoulli.random(2, 3, seed=1)
    return case.model(), case.states.double()


def dependent():
    """A prior that is not a product: all of it belongs to every factor."""
    model, states = binary()
    torch.manual_seed(0)
    model.prior = AutoregressiveBernoulli(2, hidden=4).double()
    return model, states


def categorical():
    torch.manual_seed(1)
    model = LatentVariableModel(
        prior=CategoricalPrior(2, categories=3),
        likelihood=BernoulliLikelihood(MLP((2, 3), [], 3)),
        posterior=Categorical(MLP(3, [], (2, 3)), categories=3),
    ).double()
    eye = torch.eye(3, dtype=torch.float64)
    return model, torch.stack([torch.stack(pair) for pair in itertools.product(eye, eye)])


@pytest.mark.parametrize("estimator, num_samples", [(RaoBlackwell(), 2), (RaoBlackwell(False), 1)])
@pytest.mark.parametrize("case", [binary, dependent, categorical])
def test_the_mean_over_all_draws_is_the_exact_gradient(case, estimator, num_samples):
    model, states = case()
    got = every_draw(model, X, states, estimator, ELBO(), num_samples)
    value, phi, theta = exact(model, X, states, ELBO(), num_samples)
    torch.testing.assert_close(got.value, value)
    torch.testing.assert_close(got.mean, phi)
    torch.testing.assert_close(got.theta, theta)


@pytest.mark.parametrize("case", [binary, dependent])
def test_a_factor_is_weighed_by_the_terms_that_it_can_change(case):
    model, states = case()
    got = every_draw(model, X, states, RaoBlackwell(False), ELBO(), 1).gradients
    log_likelihood, log_prior = model.joint(X)(states[:, None])
    q, p = model.infer(X).base_dist, model.prior()
    own = p.base_dist.log_prob(states) if case is binary else log_prior
    h = log_likelihood + own - q.log_prob(states)
    torch.testing.assert_close(got, (h * (states - q.probs)).detach())


@pytest.mark.slow
def test_unbiased_on_continuous_latents():
    drawn = LinearGaussian.random(2, 2, seed=1)
    model = drawn.model(drawn.posterior_module(diagonal=True))
    x = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    with torch.no_grad():
        model.posterior.offset += 1.0
        model.posterior.log_scale += 0.3
    parameters = [*model.posterior.parameters()]
    q = model.infer(x).base_dist
    truth = flat_gradient(LinearGaussian.of(model.likelihood).elbo(x, q.loc, scale=q.scale).sum(), parameters)
    loss = VariationalLoss(model, ELBO(), RaoBlackwell(), 4)
    assert_unbiased(lambda: flat_gradient(-loss(x.expand(10_000, -1)).loss, parameters), truth, num_repeats=64)


@pytest.mark.parametrize("case", [binary, dependent, categorical])
def test_conformance(case):
    model, _ = case()
    assert check_gradient(RaoBlackwell(), ELBO(), model, X.expand(64, -1))


def test_where_the_likelihood_sees_one_latent_its_gradient_varies_less():
    """What is dropped is then independent of what is kept, given z_d: a theorem."""
    model, states = binary()
    layer = model.likelihood.net.layers[0]
    with torch.no_grad():
        layer.weight[:, 1] = 0
    ours, theirs = (every_draw(model, X, states, e, ELBO(), 2).variance for e in (RaoBlackwell(), ScoreFunction()))
    assert ours[0] < 0.95 * theirs[0]


def test_at_the_exact_posterior_it_varies_more():
    """log w is then constant, which the terms that a factor keeps are not."""
    model, states = binary()
    layer = model.likelihood.net.layers[0]
    with torch.no_grad():
        layer.weight[1:, 0] = 0  # each latent has its own part of x, so that the posterior is a product
        layer.weight[:1, 1] = 0
    log_p = sum(model.joint(X)(states[:, None]))[:, 0].detach()
    posterior = (log_p - log_p.logsumexp(0)).exp()
    logits = torch.stack([posterior @ states[:, d] for d in range(2)]).logit()
    assert not torch.allclose(logits, logits_of(model, X))
    ours, theirs = (
        every_draw(model, X, states, e, ELBO(), 2, logits).variance.sum() for e in (RaoBlackwell(), ScoreFunction())
    )
    assert theirs < 1e-20
    assert ours > 1e-3


def test_without_gradients():
    model, _ = binary()
    with torch.no_grad():
        assert VariationalLoss(model, ELBO(), RaoBlackwell(), 2)(X).loss.isfinite()


def test_refusals():
    model, _ = binary()
    for objective in (IWAE(), ELBO(rate="entropy"), ELBO(rate="kl")):
        with pytest.raises(ValueError, match=r"use ELBO\(\) or ScoreFunction\(\)"):
            RaoBlackwell().check(objective, model.infer(X), 2)
    full = LinearGaussian.random(3, 2)
    assert isinstance(full.model().prior, StandardNormal)
    with pytest.raises(ValueError, match=r"product over latents.*use ScoreFunction\(\)"):
        RaoBlackwell().check(ELBO(), full.model().infer(X), 2)
    with pytest.raises(ValueError, match="num_samples ≥ 2"):
        VariationalLoss(model, ELBO(), RaoBlackwell(), 1)(X)
