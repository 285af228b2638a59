"""Planar flows: f(z) = z + û tanh(wᵀz + b) (Rezende & Mohamed 2015, arXiv:1505.05770, eq. 10 and appendix A.1).

    log |det ∂f/∂z| = log(1 + c sech²(A)),      A = wᵀz + b,  c = wᵀû

f is invertible if c > −1. The net gives any u, and û moves it along w:

    û = u + (m(wᵀu) − wᵀu) w / ‖w‖²,      m(v) = softplus(v + k) − 1 + δ,  k = softplus⁻¹(1 − δ)

so that wᵀû = m(wᵀu) ≥ δ − 1. The paper's m is the case δ = 0, k = 0; this k makes m(0) = 0, so that u = 0 is the
identity, and the floor δ keeps the log-determinant above log δ. Inverse: Aʸ = wᵀy + b = A + c tanh(A) is solved for
A, and then z = y − û tanh(A).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.monotone import attach_root, sech_squared, solve_scalar
from lowerbound.posteriors.parameters import latent_dim_of, require_at_least, split
from lowerbound.posteriors.transformed_normal import TransformedNormal
from lowerbound.protocols import Context

__all__ = ["Planar", "PlanarLayer"]

_DELTA = 1e-3
_SHIFT = math.log(math.expm1(1.0 - _DELTA))
_MIN_SQUARED_NORM = 1e-6


class Planar(nn.Module):
    """A Gaussian pushed through planar flows; all parameters are computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., 2 D + layers (2 D + 1)) for D = latent_dim: the mean and scale
            (before `positive`) of z_0, then u, w and b of each layer.
        layers: the number of flow steps.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of the scale of z_0.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (latent_dim,). Sampling takes one pass,
        `log_prob` of its own draw one more, and `log_prob` of any other z a search along w.

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
        require_at_least(1, owner="Planar", layers=layers)
        require_at_most("Planar", MOST_LAYERS, layers=layers)
        self.net, self.layers, self.min_scale = net, layers, min_scale
        self.latent_dim = latent_dim_of(net, latent_shape, lambda d: self.parameter_shape(d, layers), owner="Planar")
        self.event_shape = (self.latent_dim,)

    @staticmethod
    def parameter_shape(latent_dim: int, layers: int = 8) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 * latent_dim + layers * (2 * latent_dim + 1),)

    def forward(self, context: Context) -> TransformedNormal:
        """q(z | context)."""
        d = self.latent_dim
        loc, raw, *rest = split(parameters_of(self.net, context), [(d,), (d,), *[(d,), (d,), (1,)] * self.layers])
        layers = [
            PlanarLayer.constrained(u, w, b.squeeze(-1))
            for u, w, b in zip(rest[0::3], rest[1::3], rest[2::3], strict=True)
        ]
        return TransformedNormal(loc, positive(raw, self.min_scale), layers)


@dataclass(frozen=True)
class PlanarLayer:
    """One step. See `transformed_normal.Layer`.

    Attributes:
        u: û (..., D).
        w: (..., D).
        b: (...).
    """

    u: Tensor
    w: Tensor
    b: Tensor

    @classmethod
    def constrained(cls, u: Tensor, w: Tensor, b: Tensor) -> PlanarLayer:
        """Make the step from any u, which is replaced by û."""
        v = (w * u).sum(-1, keepdim=True)
        m = softplus(v + _SHIFT) - 1 + _DELTA
        return cls(u + (m - v) * w / w.square().sum(-1, keepdim=True).clamp_min(_MIN_SQUARED_NORM), w, b)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z to y; the root is A."""
        a = (self.w * z).sum(-1) + self.b
        return z + self.u * a.tanh().unsqueeze(-1), a

    def inverse(self, y: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map y to z, with the log-determinant (...), nats."""
        t = (self.w * y).sum(-1) + self.b
        c = (self.w * self.u).sum(-1)
        root = solve_scalar(t, c) if root is None else root
        a = attach_root(root, lambda a: a + c * a.tanh() - t, lambda a, r: r / (1 + c * sech_squared(a)))
        return y - self.u * a.tanh().unsqueeze(-1), torch.log1p(c * sech_squared(a))
