"""The ladder: merging by precision, what it shares with the prior, and its rates by layer."""

from __future__ import annotations

import copy

import pytest
import torch
from linear_layers import affine, exact_elbo, linear_layers
from safetensors.torch import save
from torch import nn
from torch.distributions import Independent, Laplace, Normal, kl_divergence

from lowerbound.posteriors.top_down import MergedNormal, TopDown
from lowerbound.priors import StandardNormal
from lowerbound.priors.hierarchical import Hierarchical
from lowerbound.testing import flat_gradient
from lowerbound.weights import weigh


def case(dims=(3, 2, 1), batch=4):
    return linear_layers(3, dims, "top-down"), torch.randn(batch, 3).double()


def normal(loc, scale):
    return Independent(Normal(torch.tensor([loc]), torch.tensor([scale])), 1)


def test_merging_multiplies_densities():
    z = torch.linspace(-3, 3, 7)[:, None]
    p, e = normal(1.0, 0.5), normal(-0.5, 2.0)
    ratio = MergedNormal(p, e).log_prob(z) - p.log_prob(z) - e.log_prob(z)
    assert torch.allclose(ratio, ratio[0].expand(7), atol=1e-5)


def test_a_layer_about_which_the_datum_says_nothing_is_its_prior():
    q = MergedNormal(normal(1.0, 0.5), normal(7.0, 1e8))
    assert torch.allclose(torch.stack([q.mean, q.stddev]), torch.tensor([[1.0], [0.5]]))


def test_the_elbo_in_closed_form():
    model, x = case(batch=1)
    w = model.log_weights(x, 200_000).log_w
    assert abs(w.mean() - exact_elbo(model, x)) < 5 * w.std() / 200_000**0.5


def test_the_cached_and_the_recomputed_joint_agree():
    """Values and derivatives, for every parameter, with the prior's nets called once, or once more."""
    model, x = case()
    parameters, values, gradients, calls = [*model.parameters()], [], [], []
    model.prior.conditionals[0].register_forward_hook(lambda *_: calls.append(1))
    q, joint = model.infer(x), model.joint(x)
    z = q.rsample((5,))
    for latents in (z, tuple(layer.view_as(layer) for layer in z)):
        before = len(calls)
        w = weigh(q, joint, latents)
        values.append(torch.stack([w.log_prior, w.log_q, w.log_likelihood]))
        gradients.append(flat_gradient((w.log_w * torch.linspace(1, 2, 20).view(5, 4)).sum(), parameters))
        assert (len(calls) == before) == (latents is z)
    assert torch.allclose(*values, rtol=1e-13, atol=1e-13)
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-10)


def test_another_prior_is_lent_nothing():
    model, x = case()
    other = linear_layers(3, (3, 2, 1), "top-down")
    q = model.infer(x)
    z = q.rsample((5,))
    expected = other.prior().log_prob(z)
    assert torch.equal(weigh(q, other.joint(x), z).log_prior, expected)


def test_shared_parameters_are_listed_saved_and_moved_once():
    model, x = case()
    names = [*model.state_dict()]
    assert not any(name.startswith("posterior") and "prior" in name for name in names)
    assert len({id(p) for p in model.parameters()}) == len([*model.named_parameters(remove_duplicate=False)])
    assert len(save({name: t.contiguous() for name, t in model.state_dict().items()})) > 0
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.prior.conditionals[0].net.linear.bias += 1.0
    torch.manual_seed(0)
    moved = twin.infer(x).rsample()
    torch.manual_seed(0)
    assert not torch.allclose(moved[0], model.infer(x).rsample()[0])  # the copy is tied to its own prior
    model.load_state_dict(twin.state_dict())
    torch.manual_seed(0)
    assert torch.equal(moved[0], model.infer(x).rsample()[0])


def test_rates_by_layer_sum_to_the_rate_in_every_form():
    model, x = case()
    q, joint = model.infer(x), model.joint(x)
    z = q.rsample((20_000,))
    sampled, closed = (weigh(q, joint, z, rate=rate) for rate in ("sampled", "kl"))
    assert torch.allclose(sampled.rate_per_group.sum(-1), sampled.rate)
    assert torch.allclose(closed.rate_per_group.sum(-1), closed.rate)
    assert closed.rate_per_factor.shape == (20_000, 4, 6)
    assert torch.allclose(closed.rate_per_factor.split([3, 2, 1], -1)[1].sum(-1), closed.rate_per_group[..., 1])
    error = sampled.rate_per_group.std(0) / 20_000**0.5 + closed.rate_per_group.std(0) / 20_000**0.5
    assert ((sampled.rate_per_group.mean(0) - closed.rate_per_group.mean(0)).abs() < 5 * error).all()
    top = kl_divergence(q.first.base_dist, Normal(torch.zeros(1).double(), torch.ones(1).double())).sum(-1)
    assert torch.allclose(closed.rate_per_group[..., 2], top.expand(20_000, 4))
    assert not sampled.rate_per_group.requires_grad
    assert closed.rate_per_group.requires_grad


def test_refusals():
    with pytest.raises(ValueError, match="2 steps and 1 Gaussians"):
        TopDown(StandardNormal(1), [nn.Linear(3, 1)] * 2, [affine(1, 1)])
    q = TopDown(StandardNormal(1), [nn.Linear(3, 1)], [affine(1, 1)])
    with pytest.raises(ValueError, match="needs a Hierarchical prior with as many"):
        q(torch.zeros(2, 3))

    class Pointed(nn.Module):
        def forward(self, z):
            return Independent(Laplace(z, torch.ones_like(z)), 1)

    prior = Hierarchical([Pointed(), StandardNormal(1)])
    q = TopDown(prior, [nn.Linear(3, 1), nn.Linear(1, 1)], [affine(1, 1), affine(1, 1)])
    with pytest.raises(ValueError, match=r"merges diagonal Gaussians and got Laplace.*use DiagonalNormal"):
        q(torch.zeros(2, 3)).rsample()
