"""Priors over maps of bits and codes: enumeration, contexts, and a fit to latents whose entropy is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Independent
from torch.nn.functional import one_hot

from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.evaluate import log_evidence
from lowerbound.exact import EnumerableCategorical
from lowerbound.gradients import ScoreFunction
from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import IWAE
from lowerbound.posteriors import Categorical as CategoricalPosterior
from lowerbound.priors import AutoregressiveMap, Bernoulli, Categorical, fit_prior_to_latents
from lowerbound.testing import check_conditional

NETWORKS = ["convolution", "transformer"]
SMALL = {"channels": 8, "layers": 2}


def every(sites: int, values: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(values), repeat=sites)))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("context_shape", [None, (3,), (3, 2, 2)])
def test_codes_conform_and_sum_to_one(network, context_shape):
    torch.manual_seed(0)
    prior = AutoregressiveMap((2, 2), 3, context_shape, network, **SMALL).double()
    context = None if context_shape is None else torch.randn(2, *context_shape).double()
    check_conditional(prior, context)
    z = one_hot(every(4, 3), 3).double().view(-1, *([] if context is None else [1]), 2, 2, 3)
    total = prior(context).log_prob(z).exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-12, rtol=0)
    assert prior(context).support.is_discrete


@pytest.mark.parametrize("shape, network", [((2, 3), "convolution"), ((2, 1, 3), "convolution"), (6, "transformer")])
def test_bits_conform_and_sum_to_one(shape, network):
    prior = AutoregressiveMap(shape, network=network, **SMALL).double()
    check_conditional(prior)
    z = every(6, 2).double().view(-1, *prior.event_shape)
    assert prior().log_prob(z).exp().sum().item() == pytest.approx(1, abs=1e-12)


class Copy(nn.Module):
    """q(z | x) = δ(z − x)."""

    def __init__(self, prior: nn.Module, categories: int | None):
        super().__init__()
        self.prior, self.categories = prior, categories

    def infer(self, x, context=None) -> Distribution:
        if self.categories is None:
            return Independent(torch.distributions.Bernoulli(probs=x), 2)
        return Independent(LinearOneHotCategorical(probs=x), 2)


@pytest.mark.parametrize("network", NETWORKS)
def test_it_learns_which_codes_go_together(network):
    """Two codes of four, written twice: log 16 nats of the log 256 that independent codes cost."""
    torch.manual_seed(0)
    half = torch.randint(4, (800, 2, 1))
    x = one_hot(torch.cat([half, half], 2), 4).float()
    prior = AutoregressiveMap((2, 2), 4, network=network, **SMALL)
    fit = fit_prior_to_latents(prior, Copy(Categorical((2, 2), 4), 4), x, max_epochs=30, learning_rate=2e-2)
    assert fit.before == pytest.approx(-4 * math.log(4), abs=1e-3)
    assert -2 * math.log(4) - 0.15 < fit.after < -2 * math.log(4) + 0.05


def test_a_class_as_context_says_which_bits():
    torch.manual_seed(0)
    label = torch.randint(2, (800,))
    x = label[:, None, None].expand(800, 2, 2).float()
    prior = AutoregressiveMap((2, 2), context_shape=2, **SMALL)
    fit = fit_prior_to_latents(
        prior,
        Copy(Bernoulli((2, 2)), None),
        x,
        context=one_hot(label, 2).float(),
        max_epochs=20,
        learning_rate=2e-2,
    )
    assert fit.after > -0.1
    classes = torch.eye(2)
    draws = prior(classes).sample(torch.Size((50,)))
    assert draws.shape == (50, 2, 2, 2)
    assert draws[:, 0].mean() < 0.1
    assert draws[:, 1].mean() > 0.9


@pytest.mark.parametrize("categories", [None, 3])
def test_it_starts_at_the_frequencies_of_latents(categories):
    torch.manual_seed(0)
    prior = AutoregressiveMap((2, 2), categories, **SMALL)
    for part in (*prior.causal.trunk.parameters(), *prior.causal.head.parameters()):
        nn.init.zeros_(part)
    z = (torch.rand(5000, 2, 2) < 0.2).float() if categories is None else one_hot(torch.rand(5000, 2, 2).lt(0.3) + 0, 3)
    prior.initialize_from_latents(z.float())
    share = prior().sample(torch.Size((20_000,))).mean(0)
    torch.testing.assert_close(share, z.float().mean(0), atol=0.02, rtol=0)


def test_a_model_with_it_has_the_evidence_of_the_enumeration():
    torch.manual_seed(0)
    model = LatentVariableModel(
        prior=AutoregressiveMap(2, 3, network="transformer", **SMALL),
        likelihood=BernoulliLikelihood(MLP((2, 3), [8], 4)),
        posterior=CategoricalPosterior(MLP(4, [8], (2, 3)), categories=3),
    ).double()
    x = torch.bernoulli(torch.full((5, 4), 0.5)).double()
    exact = EnumerableCategorical(model, 2, 3).log_evidence(x)
    with torch.no_grad():
        estimate = log_evidence(model, x, num_samples=4000)
    assert ((estimate.log_evidence - exact).abs() < 0.05).all()
    loss = VariationalLoss(model, IWAE(), ScoreFunction(), num_samples=3)
    loss(x).loss.backward()
    assert all((part.grad != 0).any() for part in model.prior.parameters())


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: AutoregressiveMap((2, 2), 1), "categories=1 and needs at least 2"),
        (lambda: AutoregressiveMap(6), "take the network transformer for vectors"),
        (lambda: AutoregressiveMap((2, 2), 3, 4)(), r"got no context and its net was made for one of shape \(4,\)"),
        (lambda: AutoregressiveMap((2, 2), 3, 4)((torch.zeros(1, 2), torch.zeros(1, 2))), "a context of 2 tensors"),
        (lambda: AutoregressiveMap((2, 2), 3, 4)(torch.zeros(5, 3)), r"context of shape \(5, 3\) and its net was made"),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert len(str(error.value)) <= 300
