"""q(ζ, z | x): independent bits z, smoothed to numbers ζ (`smoothed` has the equations)."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from lowerbound.distributions.smoothed import SmoothedBits, Smoothing
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, vector_length
from lowerbound.posteriors.parameters import latent_dim_of
from lowerbound.protocols import Context

__all__ = ["SmoothedBernoulli"]


class SmoothedBernoulli(nn.Module):
    """Smoothed bits whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., latent_shape).
        smoothing: "spike" (ζ = 0 where z = 0) or "overlapping".
        beta: its sharpness; larger is closer to bits and has more noise in the gradient.
        latent_shape: length of z; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (2, latent): ζ, then z. Its rate must be in
        closed form: `Pathwise` refuses a sampled one.

    Raises:
        ValueError: β that is not positive, or a net of another output shape.
    """

    by_name: ClassVar[bool] = False  # goes with priors.Smoothed: see the recipe dvae

    def __init__(
        self, net: nn.Module, smoothing: Smoothing = "overlapping", beta: float = 5.0, latent_shape: Shape | None = None
    ):
        super().__init__()
        latent_dim = latent_dim_of(net, latent_shape, self.parameter_shape, owner="SmoothedBernoulli")
        self.net, self.beta = net, beta
        self.smoothing: Smoothing = smoothing
        self.event_shape = (2, latent_dim)
        if not 0 < beta < 50:
            raise ValueError(f"SmoothedBernoulli got beta={beta:g} and needs a number between 0 and 50, such as 5.")
        if smoothing not in ("spike", "overlapping"):
            raise ValueError(f"SmoothedBernoulli got smoothing={smoothing!r}; choose spike or overlapping.")

    @staticmethod
    def parameter_shape(latent_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (vector_length(latent_shape, owner="SmoothedBernoulli"),)

    def forward(self, context: Context) -> SmoothedBits:
        """q(ζ, z | context)."""
        return SmoothedBits(parameters_of(self.net, context), self.smoothing, self.beta)
