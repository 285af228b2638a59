"""p(ζ, z) = p(z) Π r(ζ_i | z_i): a prior of bits, smoothed for a decoder that reads ζ (equations: `smoothed`)."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor, nn

from lowerbound.distributions.smoothed import SmoothedDistribution, Smoothing
from lowerbound.nets.shapes import as_shape
from lowerbound.protocols import Conditional, Context

__all__ = ["Smoothed"]


class Smoothed(nn.Module):
    """A prior of bits whose likelihood reads smoothed bits; the smoothing must be that of the posterior.

    Arguments:
        prior: over bits (D,), such as `RBM` or `Bernoulli`.
        smoothing: "spike" or "overlapping".
        beta: its sharpness.
    """

    by_name: ClassVar[bool] = False

    def __init__(self, prior: nn.Module, smoothing: Smoothing = "overlapping", beta: float = 5.0):
        super().__init__()
        self.prior, self.beta = prior, beta
        self.smoothing: Smoothing = smoothing
        self.event_shape = (2, *as_shape(cast(tuple[int, ...], prior.event_shape)))

    def forward(self, context: Context | None = None) -> SmoothedDistribution:
        """p(ζ, z | context)."""
        return SmoothedDistribution(cast(Conditional, self.prior)(context), self.smoothing, self.beta)

    def end_state(self, z: Tensor, context: Context | None = None) -> Tensor:
        """See `hooks.EndsInState`: ζ."""
        return z[..., 0, :]
