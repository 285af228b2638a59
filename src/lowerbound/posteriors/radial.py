"""Radial flows: f(z) = z + β (z − z̄) / (α + r), r = ‖z − z̄‖ (Rezende & Mohamed 2015, arXiv:1505.05770, eq. 14 and A.2).

f is invertible if α > 0 and β > −α; with β = s − α, s > 0, every term of the determinant is positive:

    log |det ∂f/∂z| = (D − 1) log((r + s) / (r + α)) + log((r² + 2 r α + α s) / (r + α)²)

Distances from z̄ map as ρ = ‖y − z̄‖ = r (r + s) / (r + α), a quadratic in r with one root that is not negative:

    r = ½ (ρ − s + √((ρ − s)² + 4 ρ α)),      z = z̄ + (y − z̄)(r + α) / (r + s)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import latent_dim_of, require_at_least, split
from lowerbound.posteriors.transformed_normal import TransformedNormal
from lowerbound.protocols import Context

__all__ = ["Radial", "RadialLayer"]

_FLOOR = 1e-3


class Radial(nn.Module):
    """A Gaussian pushed through radial flows; all parameters are computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., 2 D + layers (D + 2)) for D = latent_dim: the mean and scale (before
            `positive`) of z_0, then z̄, α and s (both before `positive`) of each layer.
        layers: the number of flow steps.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of the scale of z_0.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (latent_dim,); `log_prob` in closed form.

    Raises:
        ValueError: layers < 1, or the output shape of the net fits no latent_dim.
    """

    cites: ClassVar[tuple[str, ...]] = ("rezende2015variational",)

    def __init__(
        self,
        net: nn.Module,
        layers: int = 8,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__()
        require_at_least(1, owner="Radial", layers=layers)
        require_at_most("Radial", MOST_LAYERS, layers=layers)
        self.net, self.layers, self.min_scale = net, layers, min_scale
        self.latent_dim = latent_dim_of(net, latent_shape, lambda d: self.parameter_shape(d, layers), owner="Radial")
        self.event_shape = (self.latent_dim,)

    @staticmethod
    def parameter_shape(latent_dim: int, layers: int = 8) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 * latent_dim + layers * (latent_dim + 2),)

    def forward(self, context: Context) -> TransformedNormal:
        """q(z | context)."""
        d = self.latent_dim
        loc, raw, *rest = split(parameters_of(self.net, context), [(d,), (d,), *[(d,), (1,), (1,)] * self.layers])
        layers = [
            RadialLayer(centre, positive(alpha, _FLOOR), positive(s, _FLOOR))
            for centre, alpha, s in zip(rest[0::3], rest[1::3], rest[2::3], strict=True)
        ]
        return TransformedNormal(loc, positive(raw, self.min_scale), layers)


@dataclass(frozen=True)
class RadialLayer:
    """One step. See `transformed_normal.Layer`.

    Attributes:
        centre: z̄ (..., D).
        alpha: α (..., 1), positive.
        s: β + α (..., 1), positive; s = α is the identity.
    """

    centre: Tensor
    alpha: Tensor
    s: Tensor

    def forward(self, z: Tensor) -> tuple[Tensor, None]:
        """Map z to y; the inverse needs no search."""
        offset = z - self.centre
        r = _norm(offset)
        return self.centre + offset * (r + self.s) / (r + self.alpha), None

    def inverse(self, y: Tensor, root: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map y to z, with the log-determinant (...), nats."""
        offset = y - self.centre
        r = self._radius(_norm(offset))
        z = self.centre + offset * (r + self.alpha) / (r + self.s)
        return z, self._log_det(r, y.shape[-1]).squeeze(-1)

    def _radius(self, rho: Tensor) -> Tensor:
        """The larger root of r² + (s − ρ) r − ρ α, by that of its two forms which does not cancel."""
        excess = rho - self.s
        root = (excess.square() + 4 * rho * self.alpha).sqrt()
        inner = 2 * rho * self.alpha / (root + excess.abs())
        return torch.where(excess > 0, 0.5 * (excess + root), inner)

    def _log_det(self, r: Tensor, dim: int) -> Tensor:
        ratio = (r + self.s).log() - (r + self.alpha).log()
        radial = (r * (r + 2 * self.alpha) + self.alpha * self.s).log() - 2 * (r + self.alpha).log()
        return (dim - 1) * ratio + radial


def _norm(offset: Tensor) -> Tensor:
    return torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
