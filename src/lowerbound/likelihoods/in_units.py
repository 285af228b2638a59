"""Normal(a + b μ, b s) and its exponential: the net gives μ and s in standard units, a and b are the units of x.

    log p(x) = log N((x − a)/b; μ, s) − log b

x is brought to standard units before anything else, so that no digit of x − a is lost where a is large.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution

__all__ = ["LogNormalInUnits", "NormalInUnits"]


class NormalInUnits(ElementwiseDistribution):
    """Normal(a + b μ, b s), elementwise.

    Arguments:
        loc: μ, in standard units.
        scale: s > 0, in standard units.
        centre: a.
        unit: b > 0.

    >>> NormalInUnits(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(30.0), torch.tensor(14.0)).stddev
    tensor(14.)
    """

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, centre: Tensor, unit: Tensor):
        super().__init__(loc, scale, centre, unit)
        self.loc, self.scale, self.centre, self.unit = self.parameters

    @property
    def mean(self) -> Tensor:
        """a + b μ."""
        return self.centre + self.unit * self.loc

    @property
    def variance(self) -> Tensor:
        """(b s)²."""
        return (self.unit * self.scale) ** 2

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        t = ((value - self.centre) / self.unit - self.loc) / self.scale
        return -0.5 * (t**2 + math.log(2 * math.pi)) - torch.log(self.scale) - torch.log(self.unit)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.normal, self._in_units_of_x()

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """a + b (μ + s ε), ε ~ N(0, 1): (*sample_shape, *batch_shape)."""
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.centre + self.unit * (self.loc + self.scale * noise)

    def _in_units_of_x(self) -> tuple[Tensor, Tensor]:
        return self.centre + self.unit * self.loc, self.unit * self.scale


class LogNormalInUnits(NormalInUnits):
    """exp of `NormalInUnits`, elementwise: a and b are in the units of log x."""

    @property
    def mean(self) -> Tensor:
        """exp(a + b μ + (b s)²/2)."""
        return torch.exp(self.centre + self.unit * self.loc + 0.5 * (self.unit * self.scale) ** 2)

    @property
    def variance(self) -> Tensor:
        """(exp((b s)²) − 1) mean²."""
        return torch.expm1((self.unit * self.scale) ** 2) * self.mean**2

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats; −∞ where it is not positive."""
        inside = ~(value <= 0)
        log_x = torch.log(torch.where(inside, value, 1.0))
        return torch.where(inside, super().log_prob(log_x) - log_x, -torch.inf)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.log_normal, self._in_units_of_x()

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """exp(a + b (μ + s ε)): (*sample_shape, *batch_shape)."""
        return super().rsample(sample_shape).exp()
