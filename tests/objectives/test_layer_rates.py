"""Objectives that charge a hierarchy layer by layer, and what is told of its layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_layers import linear_layers

from lowerbound.evaluate import summary
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE, BalancedELBO, BetaELBO, CapacityELBO, FreeBits
from lowerbound.protocols import FollowsSteps
from lowerbound.weights import LogWeights, weigh


def value(objective, w):
    return objective.reduce(objective.signal(w))


def by_hand():
    """Two draws of one datum in two layers: 0.2 and 3, then 2 and 0.4."""
    zeros = torch.zeros(2, 1)
    groups = torch.tensor([[[0.2, 3.0]], [[2.0, 0.4]]])
    return LogWeights(
        log_likelihood=zeros, log_prior=-groups.sum(-1), log_q=zeros, z=zeros, form="kl", rate_per_group=groups
    )


def case():
    model, x = linear_layers(3, (3, 2), "top-down"), torch.randn(4, 3).double()
    q, joint = model.infer(x), model.joint(x)
    return model, x, weigh(q, joint, q.rsample((6,)), rate="kl")


def test_free_bits_by_hand():
    """λ = 1: 1 + 3 and 2 + 1, so 3.5 on average."""
    w = by_hand()
    assert torch.allclose(value(FreeBits(1.0, "group"), w), torch.tensor([-3.5]))
    assert torch.allclose(value(FreeBits(0.0, "group"), w), value(ELBO("kl"), w))


def test_free_bits_with_a_warm_up():
    w, objective = by_hand(), FreeBits(1.0, "group", warmup=4)
    for part in objective.modules():
        if isinstance(part, FollowsSteps):  # as the loop does
            part.at_step(1)
    assert torch.allclose(value(objective.train(), w), torch.tensor([-3.5 / 4]))
    assert torch.allclose(value(objective.eval(), w), torch.tensor([-3.5]))
    assert (objective.bound, FreeBits().bound) == ("none", "lower")
    assert repr(objective) == "FreeBits(nats=1.0, per='group', warmup=4)"


def test_free_bits_of_factors_and_layers_of_a_ladder():
    _, _, w = case()
    assert (value(FreeBits(0.3), w) <= value(FreeBits(0.6, "group"), w) + 1e-12).all()
    assert (value(FreeBits(0.3, "group"), w) <= value(ELBO("kl"), w) + 1e-12).all()
    assert torch.allclose(value(FreeBits(100.0, "group"), w), w.log_likelihood.mean(0) - 200)
    assert torch.allclose(value(FreeBits(100.0), w), w.log_likelihood.mean(0) - 500)


def test_a_silent_layer_gets_no_gradient_from_its_rate():
    model, _, w = case()
    free, scale = float(w.rate_per_group[..., 1].max().detach()) + 1, model.posterior.evidence[1].net.raw_scale
    low = w.rate_per_group[..., 0] < free
    charged = (FreeBits(free, "group").signal(w) - w.log_likelihood)[low].sum()
    assert torch.equal(torch.autograd.grad(charged, scale, retain_graph=True)[0], torch.zeros_like(scale))
    (gradient,) = torch.autograd.grad((FreeBits(0.0, "group").signal(w) - w.log_likelihood).sum(), scale)
    assert (gradient != 0).all()


def test_an_annealed_weight_is_that_of_all_layers():
    _, _, w = case()
    objective = BetaELBO(1.0, warmup=4, rate="kl").train()
    objective.at_step(1)
    assert torch.allclose(value(objective, w), w.log_likelihood.mean(0) - w.rate_per_group.sum(-1).mean(0) / 4)


def test_refusals():
    _, _, w = case()
    with pytest.raises(ValueError, match=r"CapacityELBO needs one KL.*use FreeBits"):
        CapacityELBO(steps=0).signal(w)
    with pytest.raises(ValueError, match="use ELBO"):
        IWAE().signal(w)


def test_balancing_by_hand():
    """Mean rates 1.1 and 1.7 of layers of 1 and 2 latents: γ ∝ 1.11 and 0.855, of mean 1; half of it is charged."""
    w, objective = by_hand(), BalancedELBO(warmup=4)
    w = replace(w, z=(torch.zeros(2, 1, 1), torch.zeros(2, 1, 2)))
    shares = torch.tensor([1.11, 0.855])
    shares = shares / shares.mean()
    for step, expected in ((2, -0.5 * (shares * torch.tensor([1.1, 1.7])).sum()), (4, torch.tensor(-2.8))):
        objective.weighted.at_step(step)
        assert torch.allclose(value(objective.train(), w), expected)
        assert torch.allclose(value(objective.eval(), w), torch.tensor([-2.8]))


def test_balancing_has_no_gradient_of_its_shares():
    model, x, _ = case()
    objective = BalancedELBO(warmup=4)
    objective.weighted.at_step(1)
    q, joint = model.infer(x), model.joint(x)
    w = weigh(q, joint, q.rsample((6,)), rate="kl")
    rates = w.rate_per_group.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.signal(replace(w, rate_per_group=rates)).sum(), rates)
    assert torch.allclose(gradient, gradient[0, 0].expand_as(gradient))
    assert gradient[0, 0].mean().item() == pytest.approx(-0.25)


@pytest.mark.parametrize("rate", ["sampled", "kl"])
def test_the_loss_tells_the_rate_of_every_layer(rate):
    model, x, _ = case()
    terms = VariationalLoss(model, ELBO(rate=rate), Pathwise(), 5)(x).terms
    assert torch.allclose(terms["rate_1"] + terms["rate_2"], terms["posterior"] - terms["prior"])
    one = VariationalLoss(linear_layers(3, (2,), "bottom-up"), ELBO(), Pathwise())(x).terms
    assert set(one) == {"bound", "likelihood", "prior", "posterior"}


@pytest.mark.parametrize("posterior", ["bottom-up", "top-down"])
def test_the_summary_of_a_hierarchy(posterior):
    """Of the second layer z_2 → z_1 has no weight, and q knows: it is its prior, costs nothing and is not active."""
    model = linear_layers(3, (3, 2), posterior)
    last = model.posterior.evidence[1] if posterior == "top-down" else model.posterior.conditionals[1]
    last.net.linear.weight.data.zero_()
    last.net.linear.bias.data.zero_()
    last.net.raw_scale.data.zero_()
    told = summary(model, torch.randn(200, 3).double(), num_samples=64)
    assert told.latents_per_layer == (3, 2)
    assert told.active_units_per_layer[0] >= 2
    assert told.active_units_per_layer[1] == 0
    assert told.active_units == told.active_units_per_layer[0]
    assert abs(told.rate_per_layer[1]) < 1e-9
    assert abs(told.rate_per_layer.sum().item() - told.rate) < 1e-9
    by_layer = torch.stack([part.sum() for part in told.rate_per_dimension.split([3, 2])])
    assert torch.allclose(by_layer, told.rate_per_layer, rtol=0.1, atol=1e-9)


def test_balancing_is_named_in_one_line():
    """A refusal that names it is one sentence."""
    assert repr(BalancedELBO(7)) == "BalancedELBO(warmup=7)"
