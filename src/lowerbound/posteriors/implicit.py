"""q(z | x) by a sampler alone: z = g_φ(x, ε), ε ~ N(0, I) (Mescheder et al. 2017, arXiv:1701.04722, §3.1).

A net that mixes x and noise can give any q(z | x), with several modes and on curved sets, and its density is not known.
There is no log w, and so no bound: such a q is trained by an estimate of its rate (`gradients.DensityRatio`,
`gradients.AggregateRatio`), and its model is evaluated by annealed importance sampling, which does not use q.

x goes through the net once. Every draw goes through a small second net, which reads features of x and the noise; with
no hidden layer and a linear net, q(z | x) is the Gaussian N(A x + b, C Cᵀ).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lowerbound.nets.mlp import MLP
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.precision import call_net
from lowerbound.nets.shapes import vector_length
from lowerbound.posteriors.parameters import SampleShape, require_at_least
from lowerbound.protocols import Context
from lowerbound.weights import NoDensityError

__all__ = ["Implicit", "ImplicitDistribution"]


class Implicit(nn.Module):
    """A posterior that can be drawn from and has no density.

    Arguments:
        net: from a context (..., *event) to features (..., features).
        latent_shape: length of z.
        noise_dim: length of ε; 0 for a deterministic encoder, which only `AggregateRatio` can train.
        features: length of what the sampler reads of x.
        hidden: widths of the hidden layers of the sampler, from features and noise to z.

    Returns (when called with a context of B rows):
        A distribution with batch shape (B,) and event shape (latent_shape,), of which draws are differentiable.

    Raises:
        ValueError: negative noise_dim, no features, or latents that are no vector.
    """

    cites: ClassVar[tuple[str, ...]] = ("mescheder2017adversarial",)
    goes_with: ClassVar[dict[str, Any]] = {"objective": "elbo:rate=sampled", "gradient": "density-ratio"}

    def __init__(
        self,
        net: nn.Module,
        latent_shape: int,
        noise_dim: int = 16,
        features: int = 64,
        hidden: Sequence[int] = (64,),
    ):
        super().__init__()
        length = vector_length(latent_shape, owner="Implicit")
        require_at_least(0, owner="Implicit", noise_dim=noise_dim)
        require_at_least(1, owner="Implicit", latent_shape=length, features=features)
        self.net, self.noise_dim, self.event_shape = net, noise_dim, (length,)
        self.sampler = MLP(features + noise_dim, hidden, length, nn.SiLU)

    @staticmethod
    def parameter_shape(latent_shape: int, features: int = 64) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (features,)

    def forward(self, context: Context) -> ImplicitDistribution:
        """q(z | context)."""
        features = parameters_of(self.net, context)

        def draw(sample_shape: torch.Size) -> Tensor:
            lead = (*sample_shape, *features.shape[:-1])
            noise = torch.randn(*lead, self.noise_dim, dtype=features.dtype, device=features.device)
            return call_net(self.sampler, (torch.cat([features.expand(*lead, -1), noise], -1),))

        return ImplicitDistribution(draw, features.shape[:-1], self.event_shape, is_constant=self.noise_dim == 0)


class ImplicitDistribution(Distribution):
    """A distribution over real vectors that is known by its draws. See `hooks.WithoutDensity`.

    Arguments:
        draw: from a sample shape to differentiable draws (*sample_shape, *batch_shape, *event_shape).
        batch_shape, event_shape: of the draws.
        is_constant: whether all draws are the same.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(
        self,
        draw: Callable[[torch.Size], Tensor],
        batch_shape: tuple[int, ...],
        event_shape: tuple[int, ...],
        *,
        is_constant: bool = False,
    ):
        self._draw, self._is_constant = draw, is_constant
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All real vectors."""
        return constraints.real_vector

    def is_constant(self) -> bool:
        """Whether all draws are the same, so that its rate is infinite. See `hooks.WithoutDensity`."""
        return self._is_constant

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, B, *event), differentiable."""
        return self._draw(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """There is none.

        Raises:
            NoDensityError: always.
        """
        raise NoDensityError(self)
