"""The energy of a restricted Boltzmann machine and its partition function.

    E(z) = −b · z − l W r,      z = (l, r) in {0, 1}^D,      Z = Σ_z exp(−E(z))

Exact. Summing the larger side in closed form leaves 2^min(L, R) terms,
log Z = log Σ_l exp(b_l · l + Σ_j softplus(b_j + (l W)_j)), and sampling is ancestral.

Annealed (Neal 2001; Salakhutdinov & Murray 2008). Chains start at W = 0, where the partition
function Π_d (1 + exp b_d) is known, and W is turned on in T small steps:
w ← w exp(−(E_t − E_{t−1})(z)), then one Gibbs sweep that leaves p_t invariant. E[w] = Z.

Tracked. While θ = (W, b) is trained the same two moves follow it: the path of annealing is the path
of training, and the chains are those of persistent contrastive divergence (Tieleman 2008). A
`Population` holds chains z_i and numbers a_i with

    Ẑ(θ) = Σ_i exp(a_i − E_θ(z_i)),      ∇ log Ẑ = −Σ_i w̃_i ∇E_θ(z_i),      w̃ = softmax(a − E_θ(z))

so that the gradient is that of the value: both come from one differentiable function of θ. E[Ẑ] = Z for
any path that does not depend on the chains, hence E[log Ẑ] ≤ log Z: log p(z) is too large by about
half the variance of log Ẑ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

__all__ = [
    "Couplings",
    "PartitionEstimate",
    "Population",
    "advance",
    "anneal",
    "energy",
    "gibbs_sweep",
    "side_potentials",
    "side_states",
]


class Couplings(NamedTuple):
    """θ: biases of the left and right units and the weights between them."""

    left_bias: Float[Tensor, "left"]
    right_bias: Float[Tensor, "right"]
    weight: Float[Tensor, "left right"]

    def transposed(self) -> Couplings:
        """The same machine with its sides exchanged."""
        return Couplings(self.right_bias, self.left_bias, self.weight.T)

    def tempered(self, beta: Tensor) -> Couplings:
        """The machine with its weights, but not its biases, multiplied by beta."""
        return self._replace(weight=beta * self.weight)


class Population(NamedTuple):
    """Chains z (chain, latent) and a (chain,), nats: log Ẑ(θ) = log Σ_i exp(a_i − E_θ(z_i))."""

    z: Float[Tensor, "chain latent"]
    a: Float[Tensor, "chain"]


@dataclass(frozen=True, kw_only=True)
class PartitionEstimate:
    """log Z in nats, and its standard error (0 where it is exact)."""

    value: float
    standard_error: float


def energy(theta: Couplings, z: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead"]:
    """−b · z − l W r, nats; bilinear, so that relaxed z has a derivative."""
    left, right = _sides(theta, z)
    coupling = ((left @ theta.weight) * right).sum(-1)
    return -(left @ theta.left_bias) - (right @ theta.right_bias) - coupling


def gibbs_sweep(theta: Couplings, z: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead latent"]:
    """Draw the right side given the left, then the left given the right: leaves p(z) invariant."""
    left, _ = _sides(theta, z)
    right = torch.bernoulli(torch.sigmoid(left @ theta.weight + theta.right_bias))
    left = torch.bernoulli(torch.sigmoid(right @ theta.weight.T + theta.left_bias))
    return torch.cat([left, right], -1)


def side_states(theta: Couplings) -> Float[Tensor, "state left"]:
    """Every state of the left side, in the dtype of θ."""
    size = len(theta.left_bias)
    states = torch.arange(2**size, device=theta.weight.device)[:, None]
    return (states >> torch.arange(size, device=states.device) & 1).to(theta.weight)


def side_potentials(theta: Couplings) -> Float[Tensor, "state"]:
    """log Σ_r exp(−E(l, r)) for every state l of the left side, nats: their logsumexp is log Z."""
    states = side_states(theta)
    fields = states @ theta.weight + theta.right_bias
    return states @ theta.left_bias + softplus(fields).sum(-1)


def anneal(theta: Couplings, num_chains: int, num_temperatures: int) -> tuple[Population, PartitionEstimate]:
    """Annealed importance sampling from the machine without weights, by torch's own random state.

    The standard error is that of a mean over chains, divided by the mean: too small if no chain has
    found the main modes.
    """
    bias = torch.cat([theta.left_bias, theta.right_bias])
    z = torch.bernoulli(torch.sigmoid(bias).expand(num_chains, -1))
    log_w = softplus(bias).sum().expand(num_chains)
    step = 1.0 / num_temperatures
    for beta in torch.linspace(step, 1.0, num_temperatures, device=bias.device, dtype=bias.dtype):
        log_w = log_w - step * (energy(theta, z) + z @ bias)
        z = gibbs_sweep(theta.tempered(beta), z)
    a = log_w - math.log(num_chains) + energy(theta, z)
    relative = torch.softmax(log_w, 0) * num_chains
    value = torch.logsumexp(a - energy(theta, z), 0)
    estimate = PartitionEstimate(value=float(value), standard_error=float(relative.std() / num_chains**0.5))
    return Population(z, a), estimate


def advance(theta: Couplings, population: Population, sweeps: int) -> Population:
    """Follow θ: reweigh the chains, resample where the effective number is below half of them, and sweep."""
    log_share = population.a - energy(theta, population.z)
    z, log_share = _resample_if_degenerate(population.z, log_share)
    for _ in range(sweeps):
        z = gibbs_sweep(theta, z)
    return Population(z, log_share + energy(theta, z))


def _resample_if_degenerate(z: Tensor, log_share: Tensor) -> tuple[Tensor, Tensor]:
    """Systematic resampling without a branch in the code. The sum of the shares, which is Ẑ, does not change."""
    share = torch.softmax(log_share, 0)
    size = len(share)
    degenerate = 1 / (share**2).sum() < size / 2
    grid = (torch.arange(size, device=z.device) + torch.rand((), device=z.device)) / size
    chosen = torch.searchsorted(share.cumsum(0), grid.to(share)).clamp(max=size - 1)
    kept = torch.arange(size, device=z.device)
    even = (torch.logsumexp(log_share, 0) - math.log(size)).expand(size)
    return z[torch.where(degenerate, chosen, kept)], torch.where(degenerate, even, log_share)


def _sides(theta: Couplings, z: Tensor) -> tuple[Tensor, Tensor]:
    split = len(theta.left_bias)
    return z[..., :split], z[..., split:]
