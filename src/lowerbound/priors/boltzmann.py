"""p(z) = exp(b · z + l W r) / Z: the restricted Boltzmann machine as a prior, as in the discrete
VAE of Rolfe (2017, arXiv:1609.02200).

All of z = (l, r) in {0, 1}^D is latent: the units of the left half are coupled to those of the
right half by W. Unlike a factorised prior it models which latents go together. Unlike an autoregressive prior it has no
order, and no exact sampler once it is large.

    ∇ log p(z) = −∇E(z) + E_p[∇E]

While the smaller side has at most `exact_limit` units, Z, its gradient and samples are exact, by
enumeration. Beyond that the expectation comes from persistent chains and log Z from the same chains
(`boltzmann_partition`), which take a step whenever the prior is called in training mode with gradients on. Call
`anneal` before reporting a likelihood: it restarts the chains and states the error of log Z.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lowerbound.limits import MOST_ITERATIONS, require_at_most
from lowerbound.nets.shapes import Shape, vector_length
from lowerbound.priors.boltzmann_partition import (
    Couplings,
    PartitionEstimate,
    Population,
    advance,
    anneal,
    energy,
    gibbs_sweep,
    side_potentials,
    side_states,
)
from lowerbound.protocols import Context

__all__ = ["RBM", "BoltzmannDistribution"]

_SAMPLE_SWEEPS = 20


class BoltzmannDistribution(Distribution):
    """A restricted Boltzmann machine over z = (l, r).

    Arguments:
        theta: biases and weights.
        population: chains that carry log Z; None to enumerate the smaller side.

    Batch shape (), event shape (latent,).
    """

    has_rsample = False

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """None: the parameters are checked where they are made."""
        return {}

    @property
    def support(self) -> constraints.Constraint:
        """Binary vectors."""
        return constraints.independent(constraints.boolean, 1)

    def __init__(self, theta: Couplings, population: Population | None = None):
        self.theta, self.population = theta, population
        size = len(theta.left_bias) + len(theta.right_bias)
        super().__init__(torch.Size(), torch.Size((size,)), validate_args=False)

    def log_partition(self) -> Float[Tensor, ""]:
        """log Z, nats, differentiable: exact, or tracked by the chains."""
        if self.population is None:
            return torch.logsumexp(side_potentials(_smaller_left(self.theta)), 0)
        return torch.logsumexp(self._log_shares(self.population), 0)

    def log_prob(self, value: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead"]:
        """−E(z) − log Z, nats, for any leading axes."""
        return -energy(self.theta, value) - self.log_partition()

    def expected_log_prob(self, probs: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead"]:
        """E[log p(z)] for independent bits of these probabilities, nats: the energy is bilinear in the two sides."""
        return self.log_prob(probs)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw (*sample_shape, latent): exactly, by enumeration, or else from the chains, which are chosen by weight
        and moved by further sweeps.
        """
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            draw = self._ancestral if self.population is None else self._from_chains
            return draw(shape.numel()).reshape(*shape, -1)

    def _ancestral(self, size: int) -> Tensor:
        theta = _smaller_left(self.theta)
        probabilities = torch.softmax(side_potentials(theta), 0)
        small = side_states(theta)[torch.multinomial(probabilities, size, replacement=True)]
        large = torch.bernoulli(torch.sigmoid(small @ theta.weight + theta.right_bias))
        swapped = theta.weight.shape != self.theta.weight.shape
        return torch.cat([large, small] if swapped else [small, large], -1)

    def _from_chains(self, size: int) -> Tensor:
        assert self.population is not None
        share = torch.softmax(self._log_shares(self.population), 0)
        z = self.population.z[torch.multinomial(share, size, replacement=True)]
        for _ in range(_SAMPLE_SWEEPS):
            z = gibbs_sweep(self.theta, z)
        return z

    def _log_shares(self, population: Population) -> Tensor:
        return population.a - energy(self.theta, population.z)


class RBM(nn.Module):
    """A restricted Boltzmann machine between the first ⌊D/2⌋ latents and the others.

    Arguments:
        latent_shape: D ≥ 2, binary latents.
        exact_limit: enumerate while the smaller side has at most this many units (20: a million
            terms per call).
        chains: how many persistent chains, beyond that.
        sweeps: Gibbs sweeps of every chain per training step.

    Returns (when called):
        A `BoltzmannDistribution` with batch shape () and event shape (latent_shape,). A context is
        ignored.

    Gradient: of log p(z), exact by enumeration; otherwise that of persistent contrastive divergence
        with weighted chains,
    whose bias vanishes with their number and with slow steps of θ.

    Raises:
        ValueError: fewer than two latents, chains or sweeps that are not positive.

    >>> RBM(latent_shape=4)().sample(torch.Size((7, 3))).shape
    torch.Size([7, 3, 4])
    """

    cites: ClassVar[tuple[str, ...]] = ("rolfe2017discrete",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "bernoulli"}

    z: Tensor
    a: Tensor

    def __init__(self, latent_shape: Shape, exact_limit: int = 20, chains: int = 256, sweeps: int = 1):
        super().__init__()
        latent_dim = vector_length(latent_shape, owner="RBM")
        self.event_shape = (latent_dim,)
        if latent_dim < 2:
            raise ValueError(f"RBM got latent_shape={latent_dim} and needs at least 2, one per side.")
        if chains < 2 or sweeps < 1:
            raise ValueError(f"RBM got chains={chains}, sweeps={sweeps} and needs at least 2 chains and 1 sweep.")
        require_at_most("RBM", MOST_ITERATIONS, sweeps=sweeps)
        left, right = latent_dim // 2, latent_dim - latent_dim // 2
        self.exact, self.sweeps = left <= exact_limit, sweeps
        self.left_bias = nn.Parameter(torch.zeros(left))
        self.right_bias = nn.Parameter(torch.zeros(right))
        self.weight = nn.Parameter(0.01 * torch.randn(left, right))
        if not self.exact:  # chains of the machine at θ = 0: uniform, Z = 2^D
            uniform = torch.full((chains, latent_dim), 0.5)
            share = latent_dim * math.log(2.0) - math.log(chains)
            self.register_buffer("z", torch.bernoulli(uniform))
            self.register_buffer("a", torch.full((chains,), share))

    @property
    def theta(self) -> Couplings:
        """Biases and weights."""
        return Couplings(self.left_bias, self.right_bias, self.weight)

    def forward(self, context: Context | None = None) -> BoltzmannDistribution:
        """p(z); the context is ignored. In training mode with gradients on, the chains move first."""
        if self.exact:
            return BoltzmannDistribution(self.theta)
        if self.training and torch.is_grad_enabled():
            self._keep(advance(self._constants(), Population(self.z, self.a), self.sweeps))
        return BoltzmannDistribution(self.theta, Population(self.z.clone(), self.a.clone()))

    def anneal(self, num_chains: int = 1000, num_temperatures: int = 1000, seed: int = 0) -> PartitionEstimate:
        """Estimate log Z by annealed importance sampling; restart the persistent chains, if any,
        from its chains.

        Arguments:
            num_chains: independent chains; at least as many as the persistent ones.
            num_temperatures: steps from independent units to the machine.
            seed: of the chains; the random state of the caller is left alone.

        Returns:
            log Z, nats, and its standard error. E[log Ẑ] is below log Z by about half the squared
            error.
        """
        theta, kept = self._constants(), 0 if self.exact else len(self.a)
        if num_chains < max(kept, 2):
            raise ValueError(
                f"RBM.anneal got num_chains={num_chains} and needs at least 2 and at least "
                f"the number of persistent chains, {kept}."
            )
        device = self.weight.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(seed)
            population, estimate = anneal(theta, num_chains, num_temperatures)
            if not self.exact:
                self._keep(_thinned(theta, population, kept))
        return estimate

    def _constants(self) -> Couplings:
        return Couplings(*(part.detach() for part in self.theta))

    @torch.no_grad()
    def _keep(self, population: Population) -> None:
        self.z.copy_(population.z)
        self.a.copy_(population.a)


def _thinned(theta: Couplings, population: Population, size: int) -> Population:
    """Reduce to fewer chains with the same Ẑ: they are drawn by weight and get equal shares."""
    log_share = population.a - energy(theta, population.z)
    chosen = torch.multinomial(torch.softmax(log_share, 0), size, replacement=True)
    z = population.z[chosen]
    each = torch.logsumexp(log_share, 0) - math.log(size)
    return Population(z, each + energy(theta, z))


def _smaller_left(theta: Couplings) -> Couplings:
    return theta if len(theta.left_bias) <= len(theta.right_bias) else theta.transposed()
