"""q(z | x) = N(z; μ(x), diag σ(x)²): the factorised Gaussian of Kingma & Welling (2013, arXiv:1312.6114, eq. 9).

The scale is σ = ε + softplus(s + c) with c = softplus⁻¹(1), so that a net whose output is zero starts at σ ≈ 1 and no
output, however large or small, gives an infinite or a zero scale.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from torch.distributions import Independent, Normal

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import latent_shape_of
from lowerbound.protocols import Context

__all__ = ["DiagonalNormal"]


class DiagonalNormal(nn.Module):
    """A factorised Gaussian whose mean and scale are computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., 2, *latent_shape): the mean, and the scale before `positive`.
        latent_shape: length or shape of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of σ.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape `latent_shape`.

    Raises:
        ValueError: the output shape of the net is not (2, *latent_shape).
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto",)

    def __init__(self, net: nn.Module, latent_shape: Shape | None = None, min_scale: float = 1e-4):
        super().__init__()
        self.net, self.min_scale = net, min_scale
        self.latent_shape = self.event_shape = latent_shape_of(net, latent_shape, owner="DiagonalNormal", before=(2,))

    @staticmethod
    def parameter_shape(latent_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(latent_shape))

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        parameters = parameters_of(self.net, context)
        rank = len(self.latent_shape)
        loc, raw = parameters.unbind(-1 - rank)
        scale = positive(raw, self.min_scale)
        return Independent(Normal(loc, scale, validate_args=False), rank, validate_args=False)
