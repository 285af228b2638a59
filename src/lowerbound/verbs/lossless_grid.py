"""The values that stored rows can have, numbered, so that they can be coded without loss.

    stored value = (first + k every) / per,   k = 0, …, size − 1

The support of the likelihood says which values there are: levels, classes, bits and counts. Real numbers are those of
as many decimals as the data have, and of their common divisor, so that dates are days where they are days. Where six do
not suffice the step is a power of two near 2⁻¹⁶ of the range of the data, and what numbers have below it comes beside
(`lossless_rests`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from lowerbound.coding import BentSteps, Steps
from lowerbound.data.measured import measure
from lowerbound.data.transform import Pixels, Standardize
from lowerbound.support import Support, counts, positive, reals
from lowerbound.verbs.lossless_rests import Ends, pack_rests, steps_to_cell, unpack_rests

__all__ = ["Grid", "grid_of"]

_MOST_VALUES = 1 << 40
_FINE_BITS, _MOST_EXPONENT = 16, 1000
_REALS = (reals.description, positive.description)


@dataclass(frozen=True, eq=False)
class Grid:
    """The values of each element of a row of n.

    Attributes:
        first: (n,).
        every: (n,), positive.
        per: (n,), positive.
        size: how many values (n,).
        real: whether the likelihood gives a density, whose cells reach half a step to each side (n,).
        fine: whether the data lie anywhere in these cells (n,).
    """

    first: np.ndarray
    every: np.ndarray
    per: np.ndarray
    size: np.ndarray
    real: np.ndarray
    fine: np.ndarray

    def stored(self, k: np.ndarray) -> np.ndarray:
        """The values (N, n) numbered k, float64; of fine elements the middles of their cells."""
        return (self.first + k * self.every) / self.per

    def rests(self, x: np.ndarray, k: np.ndarray) -> bytes:
        """What the values (N, n) numbered k, of which none is missing where x is not NaN, have besides."""
        there = self.fine & ~np.isnan(x)
        return pack_rests(x[there], self._ends(k, there, x.dtype)) if there.any() else b""

    def restored(self, k: np.ndarray, seen: np.ndarray | None, dtype: str, rests: bytes) -> np.ndarray:
        """The values (N, n) numbered k with their rests; NaN where none is seen.

        Raises:
            ValueError: rests of other values.
        """
        with np.errstate(over="ignore"):
            x = self.stored(k).astype(dtype)
        there = np.broadcast_to(self.fine, k.shape) if seen is None else self.fine & seen
        if there.any():
            x[there] = unpack_rests(rests, self._ends(k, there, x.dtype))
        elif rests:
            raise ValueError("rests of no values")
        return x if seen is None else np.where(seen, x, np.array(np.nan, x.dtype))

    def _ends(self, k: np.ndarray, there: np.ndarray, dtype: np.dtype) -> Ends:
        """Of the cells of the values that are there."""
        ends = [((self.first + (k + end) * self.every) / self.per)[there] for end in (-0.5, 0.5)]
        with np.errstate(over="ignore"):
            return ends[0].astype(dtype), ends[1].astype(dtype)

    def numbers(self, x: np.ndarray, names: tuple[str, ...] | None) -> np.ndarray:
        """The numbers of stored values (N, n), 0 where one is missing.

        Raises:
            ValueError: a value on no grid.
        """
        gaps = np.isnan(x)
        exact = np.where(gaps, self.first / self.per, x.astype(np.float64))
        k = np.clip(np.rint((exact * self.per - self.first) / self.every), 0, self.size - 1).astype(np.int64)
        there = self.fine & ~gaps
        if there.any():
            k[there] += steps_to_cell(x[there], self._ends(k, there, x.dtype))
        with np.errstate(over="ignore"):
            off = (self.stored(k).astype(x.dtype) != x) & ~gaps & ~self.fine
        if there.any():
            off[there] = steps_to_cell(x[there], self._ends(k, there, x.dtype)) != 0
        wrong = np.argwhere(off)
        if len(wrong):
            row, place = wrong[0]
            where = f"element {place}" if names is None else f"column '{names[place][:40]}'"
            raise ValueError(
                f"the data hold {x[row, place]:g} at row {row}, {where}, which is none of the values that the model "
                "codes; round the data, or fit a likelihood that has such values."
            )
        return np.where(gaps, 0, k)

    def steps(self, transform: nn.Module) -> Steps:
        """The same as the likelihood scores them."""
        n = len(self.first)
        centre, unit = _units(transform, n)
        half, low, step = np.where(self.real, 0.5, 0.0), self.first / self.per, self.every / self.per
        if isinstance(transform, Standardize) and transform.logs is not None:
            bent = _of_each(transform.logs, n)
            low, step = np.where(bent, low, (low - centre) / unit), np.where(bent, step, step / unit)
            return BentSteps(low, step, self.size, half, bent, centre, unit)
        return Steps((low - centre) / unit, step / unit, self.size, half)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a list of equal ones is its first."""
        names = ("first", "every", "per", "size", "real", *(["fine"] if self.fine.any() else []))
        parts = {name: getattr(self, name).tolist() for name in names}
        return {name: part[:1] if len(set(part)) == 1 else part for name, part in parts.items()}

    @classmethod
    def from_json(cls, content: dict[str, Any], n: int) -> Grid:
        """From what `to_json` gave for n elements.

        Raises:
            ValueError, TypeError, KeyError: it is no grid.
        """
        found = {}
        content = {"fine": [False], **content}
        dtypes = {"first": float, "every": float, "per": float, "size": np.int64, "real": bool, "fine": bool}
        for name, dtype in dtypes.items():
            found[name] = np.broadcast_to(np.array(content[name], dtype=dtype), (n,)).copy()
        grid = cls(**found)
        numbers = np.stack([grid.first, grid.every, grid.per])
        if not (np.isfinite(numbers).all() and (numbers[1:] > 0).all() and (grid.size >= 1).all()):
            raise ValueError("values that are no grid")
        if (grid.size > _MOST_VALUES).any():
            raise ValueError("more values than can be coded")
        return grid


def grid_of(x: np.ndarray, support: Support, transform: nn.Module, names: tuple[str, ...] | None) -> Grid:
    """The grid of stored rows.

    Arguments:
        x: rows (N, n), flat; NaN where a value is missing.
        support: of the likelihood.
        transform: from stored rows to what the likelihood scores.
        names: of the elements, if they have any.

    Raises:
        ValueError: whole numbers that lie too far apart.
    """
    n = x.shape[1]
    of_step = support.columns or (support,)  # those of one step of a series stand for every step
    supports = of_step * (n // len(of_step))
    _, unit = _units(transform, n)
    real = np.array([each.description in _REALS for each in supports])
    first, every, per = np.zeros(n), np.ones(n), np.ones(n)
    size = np.array([2 if each.grid is None else len(each.grid) for each in supports], np.int64)
    counted = np.array([each.description == counts.description for each in supports])
    if counted.any():
        most = int(np.nanmax(x[:, counted], initial=0.0))
        size[counted] = 2 << (most + 1).bit_length()
    for i in np.flatnonzero(~real & ~counted):
        values = supports[i].grid or (0.0, 1.0)
        step = values[1] - values[0] if len(values) > 1 else 1.0
        every[i], per[i] = (unit[i], 1.0) if step == 1 else _ratio(float(unit[i]), int(size[i]) - 1)
    fine = np.zeros(n, bool)
    if real.any():
        first[real], every[real], per[real], size[real], fine[real] = _of_reals(x[:, real], names is not None)
    return Grid(first, every, per, size, real, fine)


def _ratio(unit: float, top: int) -> tuple[float, float]:
    """The step of levels k/top in stored units, as a whole number where it is one."""
    whole = unit / top
    return (whole, 1.0) if whole >= 1 and whole == round(whole) else (unit, float(top))


def _of_reals(x: np.ndarray, apart: bool) -> tuple[np.ndarray, ...]:
    """first, every, per, size and fine of real numbers, of each column apart or of all together."""
    flat = x if apart else x.reshape(-1, 1)
    measured, found = measure(flat), []
    for i in range(flat.shape[1]):
        known = flat[:, i][~np.isnan(flat[:, i])]
        digits = measured.decimals_of(i)
        if digits is None or (digits > 0 and 10.0**-digits < _spacing(known)):  # the type has no more digits
            found.append(_dyadic(known))
            continue
        grid = _decimal(known.astype(np.float64), digits)
        found.append(_dyadic(known) if grid is None else grid)
    each = [np.array(part) for part in zip(*found, strict=True)]
    return tuple(each if apart else (np.repeat(part, x.shape[1]) for part in each))


def _decimal(known: np.ndarray, digits: int) -> tuple[float, float, float, int, bool] | None:
    """The grid of numbers of so many decimals; None if it is too large."""
    whole = np.rint(known * 10.0**digits)
    if not len(whole):
        return 0.0, 1.0, 1.0, 1, False
    low, high = float(whole.min()), float(whole.max())
    if not max(abs(low), abs(high)) < 2.0**53 or high - low >= _MOST_VALUES // 4:
        return None
    every = max(1, math.gcd(*np.unique(whole - low).astype(np.int64).tolist()))
    span = int((high - low) // every)  # on each side as well: a last value would take the whole tail, below −ELBO
    return low - span * every, float(every), 10.0**digits, 3 * span + 1, False


def _dyadic(known: np.ndarray) -> tuple[float, float, float, int, bool]:
    """A grid of some 2¹⁶ cells over the range of numbers, none narrower than the numbers of their type lie apart.

    Cells of numbers above 0 begin at 0, so that the middle of none is 0, which has no logarithm.
    """
    low, high = float(known.min()), float(known.max())
    if known.dtype.kind != "f":
        raise ValueError(f"the data hold whole numbers from {low:g} to {high:g}; coding takes 2^38 of them.")
    exponent = max(math.frexp(high / 2 - low / 2)[1] + 1 - _FINE_BITS, math.frexp(_spacing(known))[1] - 1)
    per = 2.0 ** -min(max(exponent, -_MOST_EXPONENT), _MOST_EXPONENT)
    first, last = math.floor(low * per), math.ceil(high * per)
    span = last - first + 1
    return first - span + (0.5 if low > 0 else 0.0), 1.0, per, 3 * span, True


def _spacing(known: np.ndarray) -> float:
    """How far the largest numbers of their type lie apart; 0 of whole numbers."""
    if known.dtype.kind != "f" or not len(known):
        return 0.0
    largest = np.abs(known).max()
    return float(largest - np.nextafter(largest, np.zeros_like(largest)))


def _units(transform: nn.Module, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and unit of each element (n,), by which stored values become those that the likelihood scores."""
    if isinstance(transform, Standardize):
        return _of_each(transform.mean, n), _of_each(transform.scale, n)
    unit = transform.scale if isinstance(transform, Pixels) and transform.scale is not None else 1.0
    return np.zeros(n), np.full(n, float(unit))


def _of_each(part: Tensor, n: int) -> np.ndarray:
    """A number for each element (n,), of those of all elements, of one step of a series, or of one number for all."""
    return np.tile(part.numpy().reshape(-1), n // part.numel())
