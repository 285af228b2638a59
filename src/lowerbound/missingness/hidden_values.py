"""Numbers that are missing with probability Φ(α + β t), given that they are missing: a skew normal (Azzalini 1985).

    p(t | missing) = N(t; μ, s²) Φ(α + β t) / Φ(ξ)        ξ = (α + β μ) / √(1 + β² s²),  δ = β s / √(1 + β² s²)
    t = μ + s (δ u + √(1 − δ²) v)                         u ~ N(0, 1) given u > −ξ,  v ~ N(0, 1)
    E e^{c t} = e^{c μ + c² s² / 2} Φ(ξ + c δ s) / Φ(ξ),   E t = μ + s δ N(ξ) / Φ(ξ)

t is a number in standard units, or the logarithm of one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.types import _size

from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.in_units import LogNormalInUnits, NormalInUnits

__all__ = ["HiddenLogNormal", "HiddenNormal", "hidden_values"]


class HiddenNormal(ElementwiseDistribution):
    """a + b t of numbers that are missing, elementwise.

    Arguments:
        loc: μ, in standard units.
        scale: s > 0, in standard units.
        centre: a.
        unit: b > 0.
        intercept: α.
        slope: β.
    """

    has_rsample = False

    def __init__(self, loc: Tensor, scale: Tensor, centre: Tensor, unit: Tensor, intercept: Tensor, slope: Tensor):
        super().__init__(loc, scale, centre, unit, intercept, slope)
        self.loc, self.scale, self.centre, self.unit, self.intercept, self.slope = self.parameters
        spread = (1 + (self.slope * self.scale) ** 2).sqrt()
        self.threshold, self.delta = (self.intercept + self.slope * self.loc) / spread, self.slope * self.scale / spread

    @property
    def mean(self) -> Tensor:
        """a + b E t."""
        log_ratio = -0.5 * (self.threshold**2 + math.log(2 * math.pi)) - torch.special.log_ndtr(self.threshold)
        return self.centre + self.unit * (self.loc + self.scale * self.delta * log_ratio.exp())

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value | missing) per element, nats."""
        seen = NormalInUnits(self.loc, self.scale, self.centre, self.unit).log_prob(value)
        gap = self.intercept + self.slope * (value - self.centre) / self.unit
        return seen + torch.special.log_ndtr(gap) - torch.special.log_ndtr(self.threshold)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draws (*sample_shape, *batch_shape)."""
        with torch.no_grad():
            shape, like = self._extended_shape(sample_shape), self.loc
            tail = torch.rand(shape, dtype=torch.float64, device=like.device).clamp_min(1e-300)
            u = -_quantile_of_log(tail.log() + torch.special.log_ndtr(self.threshold.double()))
            v = torch.randn(shape, dtype=like.dtype, device=like.device)
            t = self.loc + self.scale * (self.delta * u.to(like) + (1 - self.delta**2).clamp_min(0).sqrt() * v)
            return self.centre + self.unit * t


class HiddenLogNormal(HiddenNormal):
    """exp of `HiddenNormal`, elementwise: a and b are in the units of log x."""

    @property
    def mean(self) -> Tensor:
        """E exp(a + b t)."""
        shifted = torch.special.log_ndtr(self.threshold + self.unit * self.delta * self.scale)
        log_mean = self.centre + self.unit * self.loc + 0.5 * (self.unit * self.scale) ** 2
        return torch.exp(log_mean + shifted - torch.special.log_ndtr(self.threshold))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value | missing) per element, nats; −∞ where it is not positive."""
        inside = ~(value <= 0)
        log_x = torch.log(torch.where(inside, value, 1.0))
        return torch.where(inside, super().log_prob(log_x) - log_x, -torch.inf)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draws (*sample_shape, *batch_shape)."""
        return super().sample(sample_shape).exp()


def hidden_values(values: NormalInUnits, intercept: Tensor, slope: Tensor) -> HiddenNormal:
    """The same numbers given that they are missing."""
    kind = HiddenLogNormal if isinstance(values, LogNormalInUnits) else HiddenNormal
    return kind(values.loc, values.scale, values.centre, values.unit, intercept, slope)


def _quantile_of_log(log_p: Tensor) -> Tensor:
    """The z with log Φ(z) = log_p, in double precision; below Φ(−8) by Newton's method on log Φ."""
    z = torch.special.ndtri(log_p.clamp_min(-30).exp())
    far = log_p < -30
    if not bool(far.any()):
        return z
    tail = -(-2 * log_p).clamp_min(1.0).sqrt()
    for _ in range(20):
        log_ndtr = torch.special.log_ndtr(tail)
        slope = (-0.5 * (tail**2 + math.log(2 * math.pi)) - log_ndtr).exp()
        tail = tail - (log_ndtr - log_p) / slope
    return torch.where(far, tail, z)
