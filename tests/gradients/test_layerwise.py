"""Level by level on chains that the matrix has not: drawn from the top down, of several layers, of categories.

The exact gradients are sums over all states. False failures: 1e-6; a bias of 4 % of the norm of the gradient is
noticed, or the test refuses to pass.
"""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from torch import nn

from lowerbound import LatentVariableModel, likelihoods, posteriors, priors
from lowerbound.chain import Chain, given
from lowerbound.gradients import ARM, REBAR, RELAX, Concrete, DisARM, Enumerate, RaoBlackwell
from lowerbound.losses import VariationalLoss
from lowerbound.models.layered import LowestLayer
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import assert_unbiased, flat_gradient
from lowerbound.weights import weigh

X = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


class Downward(nn.Module):
    """q(z_2 | x) q(z_1 | z_2, x)."""

    def __init__(self, below, top):
        super().__init__()
        self.below, self.top = below, top

    def forward(self, x):
        return Chain(lambda: self.top(x), [given(self.below, (x,))], downward=True)


def model_of(q, p, lowest):
    torch.manual_seed(0)
    x_given_z = likelihoods.Bernoulli(LowestLayer(MLP(lowest, (), 2), len(p.conditionals)))
    model = LatentVariableModel(prior=p, likelihood=x_given_z, posterior=q).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


@functools.cache
def downward():
    """One of three below, given a bit on top."""
    below = posteriors.Categorical(MLP([1, 2], (), (1, 3)), categories=3)
    q = Downward(below, posteriors.Bernoulli(MLP(2, (), 1)))
    p = priors.Hierarchical([posteriors.Categorical(MLP(1, (), (1, 3)), categories=3), priors.Bernoulli(1)])
    return model_of(q, p, (1, 3))


@functools.cache
def bits_from_the_top():
    q = Downward(posteriors.Bernoulli(MLP([1, 2], (), 2)), posteriors.Bernoulli(MLP(2, (), 1)))
    p = priors.Hierarchical([posteriors.Bernoulli(MLP(1, (), 2)), priors.Bernoulli(1)])
    return model_of(q, p, 2)


@functools.cache
def three_layers():
    q = posteriors.BottomUp([posteriors.Bernoulli(MLP(d, (), 1)) for d in (2, 1, 1)])
    p = priors.Hierarchical([posteriors.Bernoulli(MLP(1, (), 1)) for _ in range(2)] + [priors.Bernoulli(1)])
    return model_of(q, p, 1)


@functools.cache
def one_layer():
    return model_of(
        posteriors.BottomUp([posteriors.Bernoulli(MLP(2, (), 2))]), priors.Hierarchical([priors.Bernoulli(2)]), 2
    )


def values(layer):
    """Every value of a small layer, (states, *event)."""
    if len(layer.event_shape) == 2:
        return torch.eye(layer.event_shape[-1], dtype=torch.float64)[:, None]
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=layer.event_shape[0])), dtype=torch.float64)


def relax(latent_dim):
    """With a free-form term that does not start at zero."""
    torch.manual_seed(1)
    estimator = RELAX(latent_dim, 2, hidden=4, temperature=0.8)
    for p in estimator.net.parameters():
        nn.init.normal_(p)
    return estimator


def exact_elbo(model):
    """Σ_z q(z | x) log w over all states."""
    q = model.infer(X)
    options = [values(layer) for layer in q.layers_at(q.sample())]
    states = list(itertools.product(*options))
    z = tuple(torch.stack(parts)[:, None] for parts in zip(*states, strict=True))
    w = weigh(q, model.joint(X), z)
    return (q.log_prob(z).exp() * w.log_w).sum()


@pytest.mark.parametrize(
    "make, estimator",
    [
        pytest.param(downward, REBAR(), marks=pytest.mark.slow),
        (downward, RaoBlackwell()),
        (bits_from_the_top, DisARM()),
        (three_layers, DisARM()),
        pytest.param(three_layers, ARM(), marks=pytest.mark.slow),
        pytest.param(three_layers, REBAR(), marks=pytest.mark.slow),
        pytest.param(bits_from_the_top, REBAR(), marks=pytest.mark.slow),
        (one_layer, DisARM()),
        (three_layers, relax(3)),
        pytest.param(bits_from_the_top, relax(3), marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_every_parameter_has_the_gradient_of_the_sum_over_all_states(make, estimator):
    model = make()
    loss, parameters = VariationalLoss(model, ELBO(), estimator, 2).double(), [*model.parameters()]
    loss.check(X)
    many, truth = X.expand(4_000, -1), flat_gradient(exact_elbo(model), parameters)
    assert_unbiased(
        lambda: flat_gradient(-loss(many).loss, parameters), truth, num_repeats=48, smallest_detectable=0.04
    )


@pytest.mark.parametrize("make", [downward, three_layers])
def test_enumeration_is_exact(make):
    model = make()
    loss, parameters = VariationalLoss(model, ELBO(), Enumerate()), [*model.parameters()]
    exact = exact_elbo(model)
    torch.testing.assert_close(-loss(X).loss, exact)
    torch.testing.assert_close(flat_gradient(-loss(X).loss, parameters), flat_gradient(exact, parameters))


def test_concrete_comes_near_as_the_temperature_falls():
    """1 % of the norm at τ = 0.1 against 20 % at 1, over 200,000 draws."""
    model = bits_from_the_top()
    parameters = [*model.posterior.parameters()]
    truth = flat_gradient(exact_elbo(model), parameters)
    away = []
    for temperature in (1.0, 0.1):
        loss = VariationalLoss(model, ELBO(), Concrete(temperature)).double()
        away.append((flat_gradient(-loss(X.expand(200_000, -1)).loss, parameters) - truth).norm() / truth.norm())
    assert away[1] < 0.05 < away[0]


def test_what_levels_cannot_do_is_refused():
    bits, categories = bits_from_the_top(), downward()
    cases = [
        (bits, IWAE(), DisARM(), "level by level"),
        (bits, IWAE(), REBAR(), "level by level"),
        (bits, ELBO(rate="kl"), Concrete(), "use rate='sampled'"),
        (categories, ELBO(), DisARM(), "needs posteriors.Bernoulli"),
        (bits, ELBO(), Enumerate(max_states=4), r"2\^2 · 2\^1"),
        (bits, IWAE(), RELAX(3, 2), "level by level"),
        (bits, ELBO(), RELAX(2, 2), r"shape \(2,\) and got \(2,\) and \(1,\); give it their latent_dim, of all"),
        (categories, ELBO(), RELAX(2, 2), r"\(1, 3\) and \(1,\)"),
    ]
    for model, objective, estimator, told in cases:
        with pytest.raises(ValueError, match=told):
            VariationalLoss(model, objective, estimator, 2).check(X)
