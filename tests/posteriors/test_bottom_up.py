"""The exact posterior of a linear hierarchy, as a bottom-up chain."""

from __future__ import annotations

import pytest
import torch
from linear_layers import exact_elbo, linear_layers, moments_of
from torch import nn
from torch.distributions import MultivariateNormal

from lowerbound.posteriors.bottom_up import BottomUp
from lowerbound.weights import weigh


class Affine(nn.Module):
    """A Gaussian whose mean is affine in its context."""

    def __init__(self, weight, offset, covariance):
        super().__init__()
        self.weight, self.offset, self.covariance = weight, offset, covariance

    def forward(self, context):
        mean = context @ self.weight.mT + self.offset
        return MultivariateNormal(mean, self.covariance.expand(*mean.shape, mean.shape[-1]))


def exact_posterior(model, dims):
    """p(z_1 | x), p(z_2 | z_1), … by conditioning the Gaussian of all: given z_{l−1}, z_l knows no more of x."""
    exact = moments_of(model)
    mean, covariance = exact.mean.detach(), exact.covariance.detach()
    blocks = list(torch.arange(len(mean)).split([*dims, 3]))
    layers = []
    for below, own in zip([blocks[-1], *blocks[:-2]], blocks[:-1], strict=True):
        gain = torch.linalg.solve(covariance[below][:, below], covariance[below][:, own]).mT
        left = covariance[own][:, own] - gain @ covariance[below][:, own]
        layers.append(Affine(gain, mean[own] - gain @ mean[below], (left + left.mT) / 2))
    return BottomUp(layers)


@pytest.mark.parametrize("dims", [(2, 1), (2, 2, 1)])
def test_weights_of_the_exact_posterior_do_not_vary(dims):
    model = linear_layers(3, dims, "bottom-up")
    model.posterior = exact_posterior(model, dims)
    x = torch.randn(5, 3).double()
    w = model.log_weights(x, 7)
    assert torch.allclose(w.log_w, moments_of(model).evidence().log_prob(x).expand(7, 5))
    assert w.rate_per_group.shape == (7, 5, len(dims))
    assert torch.allclose(w.rate_per_group.sum(-1), w.rate)


def test_the_elbo_in_closed_form():
    model, x = linear_layers(3, (2, 2, 1), "bottom-up"), torch.randn(1, 3).double()
    w = model.log_weights(x, 200_000).log_w
    assert abs(w.mean() - exact_elbo(model, x)) < 5 * w.std() / 200_000**0.5


def test_a_closed_form_kl_is_refused_by_name():
    model, x = linear_layers(3, (2, 1), "bottom-up"), torch.randn(2, 3).double()
    q = model.infer(x)
    with pytest.raises(ValueError, match=r"drawn in the same order.*rate='sampled'"):
        weigh(q, model.joint(x), q.rsample((2,)), rate="kl")
    with pytest.raises(ValueError, match=r"entropy of Chain.*rate='sampled'"):
        weigh(q, model.joint(x), q.rsample((2,)), rate="entropy")


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match="no conditional"):
        BottomUp([])
