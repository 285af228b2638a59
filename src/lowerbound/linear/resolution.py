"""Columns whose values lie on a grid, such as ages, ratings and lengths in tenths, and the noise that they allow.

    y = (e^{a x} − 1) / a  (x itself where a = 0),     Δ = the smallest difference of two values of y
    width of the cell around x:  Δ e^{−a x}            σ ≥ half of the width

A value that was written down to the next point of a grid stands for a cell. A density that is narrower than the cell
can be raised without limit by a spike on each point, and says nothing of new rows. With σ at least half of the width,
the density at a point times the width is the probability of its cell: by Poisson's sum the cells of a Gaussian add up
to 1 within 2 e^{−π² / 2} = 0.0144. Such fits are therefore comparable to probabilities, and to each other.

a > 0 is for columns on the scale of their logarithm, whose stored values are proportional to e^{a x}: their points are
closer for larger values. A column has a grid if some of its values occur twice; if its steps are fine, they have no
effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Resolution"]

_SAME = 1e-5  # two values of a standardised column that differ by less are one value, rounded twice
_SHARE = 0.5  # of a width: the floor of σ


@dataclass(frozen=True)
class Resolution:
    """The steps of columns.

    Attributes:
        step: Δ; 0 for columns without a grid.
        rate: a; 0 for columns that are no logarithms.
    """

    step: Float[Tensor, "data"]
    rate: Float[Tensor, "data"]

    @classmethod
    def of(cls, x: Float[Tensor, "batch data"], rate: Float[Tensor, "data"] | None = None) -> Resolution:
        """Measure rows x of standardised columns, NaN where an entry is missing.

        >>> Resolution.of(torch.tensor([[0.5, 0.1], [1.0, 0.2], [1.0, 0.4], [2.5, 0.7]])).step
        tensor([0.5000, 0.0000])
        """
        rate = x.new_zeros(x.shape[1]) if rate is None else rate.to(x)
        steps = [_step(column[~column.isnan()], float(a)) for column, a in zip(x.mT, rate, strict=True)]
        return cls(x.new_tensor(steps), rate)

    def width(self, x: Float[Tensor, "*batch data"]) -> Float[Tensor, "*batch data"]:
        """The width of the cells around x, on a logarithm at most the size of a value."""
        on_logs = torch.minimum(self.step * (-self.rate * x).exp(), 1 / self.rate)
        return torch.where(self.rate > 0, on_logs, self.step)

    def floor(self, x: Float[Tensor, "*batch data"], min_scale: float) -> Float[Tensor, "*batch data"]:
        """The floor of σ of Gaussians at x: half of the width, and not below `min_scale`."""
        return (_SHARE * self.width(x)).clamp_min(min_scale)


def _step(x: Tensor, rate: float) -> float:
    """Δ of the values (N,) of a column; 0 where all of them differ."""
    values = x.sort().values
    new = values.diff() > _SAME
    values = torch.cat([values[:1], values[1:][new]])
    if len(values) < 2 or len(values) == len(x):
        return 0.0
    y = values if rate == 0 else (rate * values).expm1() / rate
    return float(y.diff().min())
