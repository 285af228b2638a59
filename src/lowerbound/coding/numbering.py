"""The numbers k = 0, …, K − 1 of the values that an element can take, and the value at which F_k = P(x ≤ x_k) is.

Data lie on equal steps: bits, levels, classes, counts, and decimals of real columns, whose cells reach half a step to
each side. Real latents are put on a grid of K cells that a Student t distribution with two degrees of freedom, with the
mean and the standard deviation of the prior as its centre and scale, gives equal mass:

    x = (2 u − 1) / √(2 u (1 − u)),     u = k / K

Its cells are narrow where the prior is far below the posterior too: 5·10⁻⁴ standard deviations wide at five of them,
and the last cell begins at 360. Cells of equal mass under the prior itself would end at four and a half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

__all__ = ["CELLS", "BentSteps", "LatentCells", "Steps"]

CELLS = 1 << 18
"""Of the grid of a real latent: 1.1e-5 standard deviations wide in the middle."""


@dataclass(frozen=True, eq=False)
class Steps:
    """x_k = low + k step, for n elements.

    Attributes:
        low: of each element (n,).
        step: of each (n,).
        size: K of each (n,).
        half: how many steps above x_k the end of its cell lies (n,): ½ for real numbers, 0 for others.
    """

    low: np.ndarray
    step: np.ndarray
    size: np.ndarray
    half: np.ndarray

    @classmethod
    def of(cls, n: int, *, size: int, low: float = 0.0, step: float = 1.0, half: float = 0.0) -> Steps:
        """The same for n elements."""
        return cls(np.full(n, low), np.full(n, step), np.full(n, size), np.full(n, half))

    def at(self, places: np.ndarray | slice) -> Steps:
        """Of some of the elements."""
        return Steps(*(part[places] for part in (self.low, self.step, self.size, self.half)))

    def in_rows(self, rows: np.ndarray | slice) -> Steps:
        """The same: they are those of all rows."""
        return self

    def value(self, k: np.ndarray) -> np.ndarray:
        """x_k for numbers (n, rows)."""
        return _each(self.low) + k * _each(self.step)

    def end(self, k: np.ndarray) -> np.ndarray:
        """Where F_k is taken."""
        return _each(self.low) + (k + _each(self.half)) * _each(self.step)

    def number(self, x: np.ndarray) -> np.ndarray:
        """k of values (n, rows), int64."""
        return np.round((x - self.low[..., None]) / self.step[..., None]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class BentSteps(Steps):
    """Steps of which some are scored as logarithms: (log x_k − centre) / unit.

    Attributes:
        bent: which (n,).
        centre: of the logarithm (n,).
        unit: of the logarithm (n,).
    """

    bent: np.ndarray
    centre: np.ndarray
    unit: np.ndarray

    def at(self, places: np.ndarray | slice) -> BentSteps:
        """Of some of the elements."""
        parts = (self.low, self.step, self.size, self.half, self.bent, self.centre, self.unit)
        return BentSteps(*(part[places] for part in parts))

    def value(self, k: np.ndarray) -> np.ndarray:
        """x_k for numbers (n, rows), as it is scored."""
        return self._bent(super().value(k))

    def end(self, k: np.ndarray) -> np.ndarray:
        """Where F_k is taken."""
        return self._bent(super().end(k))

    def number(self, x: np.ndarray) -> np.ndarray:
        """k of values (n, rows) as they are scored, int64."""
        unbent = np.exp(self.centre[..., None] + x * self.unit[..., None])
        return super().number(np.where(self.bent[..., None], unbent, x))

    def _bent(self, x: np.ndarray) -> np.ndarray:
        # x log y of scipy.special treats every element alone, as log of numpy need not
        log_x = xlogy(1.0, np.maximum(x, 0.0))
        return np.where(self.bent[..., None], (log_x - self.centre[..., None]) / self.unit[..., None], x)


@dataclass(frozen=True, eq=False)
class LatentCells:
    """A grid for real latents.

    Attributes:
        loc: the centre (n, rows).
        scale: the standard deviation (n, rows).
    """

    loc: np.ndarray
    scale: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """K of each (n,)."""
        return np.full(self.loc.shape[:-1], CELLS)

    def at(self, places: np.ndarray | slice) -> LatentCells:
        """Of some of the elements."""
        return LatentCells(self.loc[places], self.scale[places])

    def in_rows(self, rows: np.ndarray | slice) -> LatentCells:
        """In some of the rows."""
        return LatentCells(self.loc[:, rows], self.scale[:, rows])

    def value(self, k: np.ndarray) -> np.ndarray:
        """The middle of a cell, by mass."""
        return self.loc + self.scale * _quantile(k + 0.5)

    def end(self, k: np.ndarray) -> np.ndarray:
        """The upper end of a cell; infinite for the last."""
        return self.loc + self.scale * _quantile(k + 1.0)


def _each(part: np.ndarray) -> np.ndarray | np.floating:
    """Of each element (n, 1), or the number of the only one, which takes less time."""
    return part[0] if len(part) == 1 else part[..., None]


def _quantile(number: np.ndarray) -> np.ndarray:
    """x of u = number / K; only the operations that are rounded alike everywhere."""
    u = number / CELLS
    with np.errstate(divide="ignore"):
        return (2 * u - 1) / np.sqrt(2 * u * (1 - u))
