"""Sums over all values of z, against the enumerable model and sums written out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import Enumerate, ScoreFunction
from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import Categorical
from lowerbound.priors import Categorical as CategoricalPrior
from lowerbound.priors import StandardNormal
from lowerbound.testing import check_gradient, flat_gradient

X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
ELBOS = [ELBO(), ELBO(rate="entropy"), ELBO(rate="kl")]


def categorical():
    """Two one-hot latents of three values."""
    torch.manual_seed(1)
    return LatentVariableModel(
        prior=CategoricalPrior(2, categories=3),
        likelihood=BernoulliLikelihood(MLP((2, 3), [], 3)),
        posterior=Categorical(MLP(3, [], (2, 3)), categories=3),
    ).double()


@pytest.mark.parametrize("objective", ELBOS, ids=str)
def test_value_and_gradients_are_those_of_the_enumerable_model(objective):
    exact = EnumerableBernoulli.random(3, 3, seed=1)
    model = exact.model()
    got = Enumerate().estimate(objective, model.infer(X), model.joint(X), 1).surrogate
    torch.testing.assert_close(got, exact.elbo(X))
    parameters = [*model.parameters()]
    torch.testing.assert_close(flat_gradient(got.sum(), parameters), flat_gradient(exact.elbo(X).sum(), parameters))


def test_one_hot_latents_against_the_sum_written_out():
    model = categorical()
    q, p = model.infer(X), model.joint(X)
    eye, expected = torch.eye(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for i, j in itertools.product(range(3), range(3)):
        z = torch.stack([eye[i], eye[j]]).expand(1, 2, 2, 3)
        log_q = q.log_prob(z)[0]
        expected = expected + log_q.exp() * (sum(p(z))[0] - log_q)
    estimate = Enumerate().estimate(ELBO(), q, p, 1)
    assert estimate.weights.log_w.shape == (9, 2)
    torch.testing.assert_close(estimate.surrogate, expected)
    pairs = [flat_gradient(value.sum(), model.parameters()) for value in (estimate.surrogate, expected)]
    torch.testing.assert_close(*pairs)


@pytest.mark.parametrize("objective", ELBOS, ids=str)
@pytest.mark.parametrize("model", [EnumerableBernoulli.random(2, 3).model(), categorical()])
def test_conformance(model, objective):
    assert check_gradient(Enumerate(), objective, model, X)


def test_the_terms_of_the_loss_are_expectations():
    model = EnumerableBernoulli.random(3, 3, seed=2).model()
    x = X[:1].expand(200_000, -1)
    terms = VariationalLoss(model, ELBO(), Enumerate())(X[:1]).terms
    drawn = VariationalLoss(model, ELBO(), ScoreFunction())
    drawn.num_samples = 2
    for name, value in drawn(x).terms.items():
        torch.testing.assert_close(terms[name], value, atol=0.02, rtol=0)
    torch.testing.assert_close(terms["bound"], terms["likelihood"] + terms["prior"] - terms["posterior"])


def test_without_gradients_it_is_the_same_number():
    model = categorical()
    loss = VariationalLoss(model, ELBO(), Enumerate())
    with torch.no_grad():
        value = loss(X).loss
    torch.testing.assert_close(value, loss(X).loss.detach())


def test_a_certain_posterior_has_a_finite_gradient():
    """q(z) = 0 in float32 for most states: 0 · log 0 must not appear."""
    model = vae((3,), latent_dim=2, hidden=(), prior="bernoulli", posterior="bernoulli")
    with torch.no_grad():
        for p in model.posterior.parameters():
            p.fill_(500.0)
    estimate = Enumerate().estimate(ELBO(), model.infer(X.float()), model.joint(X.float()), 1)
    assert flat_gradient(estimate.surrogate.sum(), model.parameters()).isfinite().all()


class Chain(nn.Module):
    """Not a product."""

    def forward(self, context=None):
        return torch.distributions.MultivariateNormal(context, torch.eye(3).to(context))


def test_refusals():
    binary = EnumerableBernoulli.random(3, 3).model().infer(X)
    normal = LinearGaussian.random(3, 2).model(LinearGaussian.random(3, 2).posterior_module(diagonal=True)).infer(X)
    full = LatentVariableModel(prior=StandardNormal(3), likelihood=Chain(), posterior=Chain()).infer(X)
    with pytest.raises(ValueError, match=r"use ScoreFunction\(\)"):
        Enumerate().check(IWAE(), binary, 2)
    for q in (normal, full):
        with pytest.raises(ValueError, match=r"use Pathwise\(\)"):
            Enumerate().check(ELBO(), q, 2)
    with pytest.raises(ValueError, match=r"2\^3 values of z and may over 7; choose a smaller latent_dim"):
        Enumerate(max_states=7).check(ELBO(), binary, 2)
    Enumerate(max_states=8).check(ELBO(), binary, 2)
    assert Enumerate().kind == "exact"
