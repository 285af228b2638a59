"""Columns in their own units, in which all fits work, so that their results do not depend on the units of x.

    y_d = (x_d − m_d) / u_d               log p(x_obs) = log p(y_obs) − Σ_d log u_d   over the observed d

m_d is the mean of the observed entries of a column and u_d their root mean square deviation. If all columns share one
noise they share one u too, the root of the mean u_d², because separate units would change the model.

A column that is constant, up to the rounding of its numbers, has no spread. Its unit is the geometric mean of the
spreads of the other columns, so that it scales with x like the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.statistics import Noise

__all__ = ["Units"]

_ROUNDING = 4  # a spread of fewer than so many units in the last place of a column is none


@dataclass(frozen=True, kw_only=True)
class Units:
    """The location and spread of the columns.

    Attributes:
        base: a number near each column, so that differences from it are accurate.
        shift: m − base.
        spread: u, one for each column, or one for all; positive.
    """

    base: Float[Tensor, "data"]
    shift: Float[Tensor, "data"]
    spread: Float[Tensor, ""] | Float[Tensor, "data"]

    @classmethod
    def of(cls, x: Float[Tensor, "batch data"], noise: Noise) -> Units:
        """Measure rows x, NaN where an entry is missing; each column must have an entry."""
        base = x.nan_to_num(nan=torch.inf).amin(0)
        shift = (x - base).nanmean(0)
        spread = _root_mean_square((x - base - shift).abs())
        last_place = torch.finfo(x.dtype).eps * x.nan_to_num().abs().amax(0)
        varies = spread > _ROUNDING * last_place
        if not bool(varies.any()):
            spread = torch.ones_like(spread)
        elif noise == "per-dimension":
            spread = torch.where(varies, spread, spread[varies].log().mean().exp())
        return cls(base=base, shift=shift, spread=spread if noise == "per-dimension" else _root_mean_square(spread))

    def standard(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch data"]:
        """y."""
        return (x - self.base - self.shift) / self.spread

    def floor(self, min_scale: float | None, relative: float) -> Tensor:
        """The floor of σ in these units: `min_scale` is in those of x; `relative` replaces None."""
        return torch.full_like(self.spread, relative) if min_scale is None else min_scale / self.spread

    def enter(self, exact: LinearGaussian) -> LinearGaussian:
        """Convert a model of x to one of y."""
        offset = (exact.offset - self.base - self.shift) / self.spread
        return LinearGaussian(exact.weight / self.spread[..., None], offset, exact.scale / self.spread)

    def leave(self, exact: LinearGaussian) -> LinearGaussian:
        """Convert a model of y to one of x."""
        offset = self.base + (self.shift + self.spread * exact.offset)
        return LinearGaussian(self.spread[..., None] * exact.weight, offset, self.spread * exact.scale)

    def log_volume(self, x: Float[Tensor, "batch data"]) -> float:
        """log p(y_obs) − log p(x_obs): the mean over rows of Σ_d log u_d, nats."""
        return float(((~x.isnan()).to(x.dtype) * self.spread.log()).sum(1).mean())


def _root_mean_square(values: Float[Tensor, "batch *data"]) -> Float[Tensor, "*data"]:
    """The root mean square along the first axis without NaN; squares neither overflow nor underflow."""
    peak = values.nan_to_num().amax(0)
    safe = torch.where(peak > 0, peak, 1.0)
    return peak * (values / safe).square().nanmean(0).sqrt()
