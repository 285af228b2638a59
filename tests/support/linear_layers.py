"""Hierarchies of linear Gaussian layers, whose marginal and posterior are Gaussian and known.

    z_L ~ N(0, I)       z_l = W_l z_{l+1} + b_l + s_l ε       x = W_0 z_1 + b_0 + s_0 ε

All of (x, z_1, …, z_L) is one Gaussian, with moments by recursion from the top, as functions of the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.models.layered import LowestLayer
from lowerbound.nets import MLP, positive
from lowerbound.posteriors import DiagonalNormal
from lowerbound.posteriors.bottom_up import BottomUp
from lowerbound.posteriors.top_down import TopDown, TopDownChain
from lowerbound.priors import StandardNormal
from lowerbound.priors.hierarchical import Hierarchical


class Affine(nn.Module):
    """z ↦ (W z + b, r): the parameters of a `DiagonalNormal` whose scale is free of z."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.raw_scale = nn.Parameter(0.5 * torch.randn(out_dim))
        self.out_shape = (2, out_dim)

    def forward(self, z: Tensor) -> Tensor:
        loc = self.linear(z)
        return torch.stack([loc, self.raw_scale.expand_as(loc)], -2)


def affine(in_dim: int, out_dim: int) -> DiagonalNormal:
    return DiagonalNormal(Affine(in_dim, out_dim), min_scale=0.0)


def linear_layers(data_dim: int, dims: tuple[int, ...], posterior: str) -> LatentVariableModel:
    """A random hierarchy with a random posterior ("bottom-up" or "top-down"), float64."""
    down = [affine(above, below) for below, above in pairwise(dims)]
    prior = Hierarchical([*down, StandardNormal(dims[-1])])
    if posterior == "bottom-up":
        q: nn.Module = BottomUp([affine(a, b) for a, b in zip((data_dim, *dims[:-1]), dims, strict=True)])
    else:
        steps = [nn.Linear(a, b) for a, b in zip((data_dim, *dims[:-1]), dims, strict=True)]
        q = TopDown(prior, steps, [affine(d, d) for d in dims])
    net = LowestLayer(MLP(dims[0], [], data_dim), len(dims))
    likelihood = Normal(net, scale="per-dimension", min_scale=0.0)
    return LatentVariableModel(prior=prior, likelihood=likelihood, posterior=q).double()


@dataclass
class Moments:
    """Mean and covariance of (z_1, …, z_L, x), stacked in this order."""

    mean: Tensor
    covariance: Tensor
    sizes: list[int]

    def evidence(self) -> MultivariateNormal:
        size = self.sizes[-1]
        return MultivariateNormal(self.mean[-size:], self.covariance[-size:, -size:])

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z_1, …, z_L | x) for x (B, D), stacked."""
        size = self.sizes[-1]
        gain = torch.linalg.solve(self.covariance[-size:, -size:], self.covariance[-size:, :-size]).mT
        covariance = self.covariance[:-size, :-size] - gain @ self.covariance[-size:, :-size]
        return MultivariateNormal(
            self.mean[:-size] + (x - self.mean[-size:]) @ gain.mT, (covariance + covariance.mT) / 2
        )


def moments_of(model: LatentVariableModel) -> Moments:
    """Of the joint, by the recursion from the top; differentiable."""
    *below, top = model.prior.conditionals
    size = len(top.loc)
    mean, covariance, sizes = torch.zeros(size).double(), torch.eye(size).double(), [size]
    layers = [(c.net.linear.weight, c.net.linear.bias, positive(c.net.raw_scale, 0.0)) for c in reversed(below)]
    last, scale = model.likelihood.net.net.layers[0], positive(model.likelihood.raw_scale, 0.0)
    for weight, bias, s in [*layers, (last.weight, last.bias, scale)]:
        mean, covariance = _grown(mean, covariance, sizes[-1], weight, bias, s)
        sizes.append(len(bias))
    return _reordered(mean, covariance, sizes)


def _grown(
    mean: Tensor, covariance: Tensor, last: int, weight: Tensor, bias: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """With one more block, affine in the last one."""
    across = weight @ covariance[-last:]
    own = across[:, -last:] @ weight.mT + torch.diag(scale**2)
    top, bottom = torch.cat([covariance, across.mT], 1), torch.cat([across, own], 1)
    return torch.cat([mean, weight @ mean[-last:] + bias]), torch.cat([top, bottom])


def _reordered(mean: Tensor, covariance: Tensor, sizes: list[int]) -> Moments:
    """From (z_L, …, z_1, x) to (z_1, …, z_L, x)."""
    blocks = list(torch.arange(sum(sizes)).split(sizes))
    order = torch.cat([*blocks[:-1][::-1], blocks[-1]])
    return Moments(mean[order], covariance[order][:, order], [*sizes[:-1][::-1], sizes[-1]])


def chain_moments(q) -> MultivariateNormal:
    """The Gaussian of (z_1, …, z_L), stacked, of a chain of affine Gaussian layers and one datum; differentiable."""
    size = q.first.mean.shape[-1]
    mean, covariance, sizes = q.first.mean.reshape(-1), torch.diag(q.first.variance.reshape(-1)), [size]
    for step in q.steps[1:]:
        points = torch.cat([torch.zeros(1, sizes[-1]), torch.eye(sizes[-1])]).double()
        given, _ = step.at(_state(q, points[:, None]))
        loc = given.mean[:, 0]
        mean, covariance = _grown(mean, covariance, sizes[-1], (loc[1:] - loc[0]).mT, loc[0], given.stddev[0, 0])
        sizes.append(loc.shape[-1])
    blocks = list(torch.arange(sum(sizes)).split(sizes))
    order = torch.cat(blocks[::-1] if q.downward else blocks)
    return MultivariateNormal(mean[order], covariance[order][:, order])


def _state(q, z: Tensor):
    """The state of a chain after a layer z: z itself; of a top-down posterior that of p beside its own."""
    return (z, None) if isinstance(q, TopDownChain) else z


def exact_elbo(model: LatentVariableModel, x: Tensor) -> Tensor:
    """The ELBO of one datum x (1, D) in closed form, differentiable: E_q[log p(x, z)] + H(q)."""
    joint, q = moments_of(model), chain_moments(model.infer(x))
    p = MultivariateNormal(joint.mean, joint.covariance)
    size = len(q.mean)
    at_mean = p.log_prob(torch.cat([q.mean, x[0]]))
    spread = (p.precision_matrix[:size, :size] * q.covariance_matrix).sum()
    return at_mean - 0.5 * spread + q.entropy()


def exact_iwae(model: LatentVariableModel, x: Tensor, num_points: int = 20) -> Tensor:
    """L_2 of one datum by Gauss-Hermite quadrature over the noise of two draws of two layers of one number each."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_points)
    grid = torch.cartesian_prod(*[torch.as_tensor(nodes)] * 2)
    pairs = torch.cartesian_prod(*[torch.as_tensor(weights) / math.sqrt(2 * math.pi)] * 2).prod(-1)
    q, joint = model.infer(x), model.joint(x)
    drawn = [q.first.mean + q.first.stddev * grid[:, :1, None]]
    given, _ = q.steps[1].at(_state(q, drawn[0]))
    drawn.append(given.mean + given.stddev * grid[:, 1:, None])
    z = tuple(drawn[::-1] if q.downward else drawn)
    log_w = (sum(joint(z)) - q.log_prob(z))[:, 0]
    pairwise = torch.logaddexp(log_w[:, None], log_w) - math.log(2)
    return (pairs[:, None] * pairs * pairwise).sum()
