"""Facts about numeric columns from one pass over their values, a block of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lowerbound.data.blocks import row_blocks
from lowerbound.data.sparse import Array

__all__ = ["Measured", "measure", "moments", "pooled_moments"]

_MOST_DECIMALS = 6
_MANY_ZEROS, _DEVIATIONS = 0.05, 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Facts about D numeric columns without their NaN, an array (D,) each.

    Attributes:
        low: the smallest value; NaN where all are missing.
        high: the largest value.
        missing: how many values are NaN.
        decimals: digits after the decimal point that are needed to write every value; 7 if six do not suffice.
        zeros: how many values are 0.
        mean: of the values; NaN where no column is whole and not negative.
        variance: of the values; NaN as the mean.
        rows: N.
    """

    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray
    decimals: np.ndarray
    zeros: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    rows: int

    @cached_property
    def whole(self) -> np.ndarray:
        """Which columns hold whole numbers."""
        return self.decimals == 0

    @cached_property
    def near_zero(self) -> np.ndarray:
        """Which columns of whole numbers from 0 on reach down to 0, whether or not a 0 is among these very rows.

        One value in twenty is 0; or the mean m is at most three standard deviations, the variance at least m / 2
        (ratings from 1 to 5 vary by less) and the smallest value at most 1 + √m, above which that of a Poisson variable
        seldom is. Whether there is a 0 changes from one draw of rows to the next; these hardly do, so that the folds of
        a cross-validation are taken alike.
        """
        many = self.zeros >= _MANY_ZEROS * np.maximum(self.rows - self.missing, 1)
        deviation = np.sqrt(self.variance)
        spread = (
            (self.low <= 1 + np.sqrt(np.maximum(self.mean, 0)))
            & (self.mean <= _DEVIATIONS * deviation)
            & (self.variance >= self.mean / 2)
        )
        return self.whole & (self.low >= 0) & (many | spread)

    @property
    def empty(self) -> np.ndarray:
        """Which columns hold nothing."""
        return self.missing == self.rows

    def decimals_of(self, i: int) -> int | None:
        """Digits after the decimal point of column i; None if there are more than six."""
        return None if self.decimals[i] > _MOST_DECIMALS else int(self.decimals[i])


def measure(x: Array) -> Measured:
    """Measure the columns of a table (N, D).

    >>> measure(np.array([[1.0, 0.25], [3.0, np.nan]])).decimals
    array([0, 2])
    """
    low, high = np.full(x.shape[1], np.nan), np.full(x.shape[1], np.nan)
    missing, decimals, zeros = (np.zeros(x.shape[1], dtype=np.int64) for _ in range(3))
    for _, block in row_blocks(x):
        gaps = np.isnan(block)
        missing += gaps.sum(0)
        zeros += (block == 0).sum(0)
        low = np.fmin(low, np.fmin.reduce(block, axis=0))
        high = np.fmax(high, np.fmax.reduce(block, axis=0))
        if x.dtype.kind == "f":
            decimals = _decimals(block, decimals)
    mean, variance = np.full(x.shape[1], np.nan), np.full(x.shape[1], np.nan)
    if bool(((decimals == 0) & (low >= 0)).any()):
        mean, variance = moments(x, None)
    return Measured(
        low=low, high=high, missing=missing, decimals=decimals, zeros=zeros, mean=mean, variance=variance, rows=len(x)
    )


def _decimals(block: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """At least `decimals` digits, and as many as this block needs: d such that rounding to d digits changes nothing."""
    decimals = decimals.copy()
    for digits in range(_MOST_DECIMALS + 1):
        places = np.flatnonzero(decimals == digits)
        if not len(places):
            continue
        values = block[:, places]
        exact = values.astype(np.float64, copy=False)
        rounded = (np.rint(exact) if digits == 0 else np.round(exact, digits)).astype(block.dtype, copy=False)
        changed = ((rounded != values) & np.isfinite(values)).any(0)
        decimals[places[changed]] = digits + 1
    return decimals


def moments(x: Array, rows: np.ndarray | None, logs: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance of each column over the rows where it is not NaN, float64; of the logarithms of the
    columns in `logs` (D,).

    Blocks are merged by the update of Chan, Golub and LeVeque (1983), equation 2.1, so that a memory map need not fit
    in memory.
    """
    count, mean, squares = (np.zeros(x.shape[1:]) for _ in range(3))
    for _, block in row_blocks(x, rows):
        block = block.astype(np.float64)
        if logs is not None:
            block[:, logs] = np.log(block[:, logs])
        seen = ~np.isnan(block)
        n = seen.sum(axis=0)
        here = np.where(seen, block, 0.0).sum(axis=0) / np.maximum(n, 1)
        both = np.maximum(count + n, 1)
        gap = here - mean
        squares += (np.where(seen, block - here, 0.0) ** 2).sum(axis=0) + gap**2 * (count * n / both)
        mean += gap * (n / both)
        count += n
    return mean, squares / np.maximum(count, 1)


def pooled_moments(x: Array, rows: np.ndarray | None) -> tuple[float, float]:
    """Mean and (biased) variance of all numbers of an array that are not NaN, merged over blocks as in `moments`."""
    count, mean, squares = 0, 0.0, 0.0
    for _, block in row_blocks(x, rows):
        values = block.astype(np.float64)
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        here, both = float(values.mean()), count + len(values)
        squares += float(((values - here) ** 2).sum()) + (here - mean) ** 2 * count * len(values) / both
        mean += (here - mean) * len(values) / both
        count = both
    return mean, squares / max(count, 1)
