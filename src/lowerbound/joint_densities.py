"""log p(x, z) of one batch x as a function of z, and what else such a function may know; see `hooks`."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor
from torch.distributions import Distribution

__all__ = ["GivenContext", "JointDensity", "Latents", "ScoresData"]

Latents: TypeAlias = Tensor | tuple[Tensor, ...]
"""One latent variable (S, B, *event), or one tensor per layer of a hierarchy."""


@runtime_checkable
class JointDensity(Protocol):
    """z ↦ log p(x, z) for one batch x, in its two terms."""

    @property
    def prior(self) -> Distribution:
        """p(z), as a distribution, which closed forms of the rate need."""
        ...

    @property
    def x(self) -> Tensor:
        """The batch (B, *event), which learned baselines read."""
        ...

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) and log p(z), each (S, B) in nats."""
        ...


@runtime_checkable
class ScoresData(JointDensity, Protocol):
    """A joint density of which log p(x | z) is wanted alone, where the rate is in closed form."""

    def log_likelihood(self, z: Latents) -> Tensor:
        """log p(x | z) (S, B) in nats."""
        ...


@runtime_checkable
class GivenContext(Protocol):
    """A joint density log p(x, z | c)."""

    context: Tensor | tuple[Tensor, ...] | None
