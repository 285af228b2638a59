"""The values that stored rows can have, numbered, so that they can be coded without loss.

    stored value = (first + k every) / per,   k = 0, …, size − 1

The support of the likelihood says which values there are: levels, classes, bits and counts. Real numbers are those of
as many decimals as the data have, and of their common divisor, so that dates are days where they are days.
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

__all__ = ["Grid", "grid_of"]

_MOST_VALUES = 1 << 40
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
    """

    first: np.ndarray
    every: np.ndarray
    per: np.ndarray
    size: np.ndarray
    real: np.ndarray

    def stored(self, k: np.ndarray) -> np.ndarray:
        """The values (N, n) numbered k, float64."""
        return (self.first + k * self.every) / self.per

    def numbers(self, x: np.ndarray, names: tuple[str, ...] | None) -> np.ndarray:
        """The numbers of stored values (N, n), 0 where one is missing.

        Raises:
            ValueError: a value on no grid.
        """
        exact = np.where(np.isnan(x), (self.first / self.per).astype(x.dtype), x).astype(np.float64)
        k = np.clip(np.rint((exact * self.per - self.first) / self.every), 0, self.size - 1).astype(np.int64)
        again = self.stored(k).astype(x.dtype)
        wrong = np.argwhere(again != exact.astype(x.dtype))
        if len(wrong):
            row, place = wrong[0]
            where = f"element {place}" if names is None else f"column '{names[place][:40]}'"
            raise ValueError(
                f"the data hold {x[row, place]:g} at row {row}, {where}, which is none of the values that the model "
                "codes; round the data, or fit a likelihood that has such values."
            )
        return np.where(np.isnan(x), 0, k)

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
        parts = {name: getattr(self, name).tolist() for name in ("first", "every", "per", "size", "real")}
        return {name: part[:1] if len(set(part)) == 1 else part for name, part in parts.items()}

    @classmethod
    def from_json(cls, content: dict[str, Any], n: int) -> Grid:
        """From what `to_json` gave for n elements.

        Raises:
            ValueError, TypeError, KeyError: it is no grid.
        """
        found = {}
        for name, dtype in (("first", float), ("every", float), ("per", float), ("size", np.int64), ("real", bool)):
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
        ValueError: numbers of more than six decimals, or too many values.
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
    if real.any():
        first[real], every[real], per[real], size[real] = _decimal(x[:, real], real, names)
    return Grid(first, every, per, size, real)


def _ratio(unit: float, top: int) -> tuple[float, float]:
    """The step of levels k/top in stored units, as a whole number where it is one."""
    whole = unit / top
    return (whole, 1.0) if whole >= 1 and whole == round(whole) else (unit, float(top))


def _decimal(x: np.ndarray, real: np.ndarray, names: tuple[str, ...] | None) -> tuple[np.ndarray, ...]:
    """first, every, per and size of columns of real numbers; one grid for all elements of rows without names."""
    flat = x if names is not None else x.reshape(-1, 1)
    measured = measure(flat)
    found = []
    for i in range(flat.shape[1]):
        digits = measured.decimals_of(i)
        if digits is None:
            where = "the data hold" if names is None else f"column '{names[np.flatnonzero(real)[i]][:40]}' holds"
            raise ValueError(f"{where} numbers of more than six decimals, which are on no grid; round them first.")
        known = flat[:, i][~np.isnan(flat[:, i])].astype(np.float64)
        whole = np.rint(known * 10.0**digits)
        if not len(whole):
            found.append((0.0, 1.0, 1.0, 1))
            continue
        low, high = float(whole.min()), float(whole.max())
        if not max(abs(low), abs(high)) < 2.0**53 or high - low >= _MOST_VALUES // 4:
            raise ValueError(f"the data hold numbers from {known.min():g} to {known.max():g}; coding takes 2^38 steps.")
        every = max(1, math.gcd(*np.unique(whole - low).astype(np.int64).tolist()))
        span = int((high - low) // every)  # on each side as well: a last value would take the whole tail, below −ELBO
        found.append((low - span * every, float(every), 10.0**digits, 3 * span + 1))
    each = [np.array(part) for part in zip(*found, strict=True)]
    return tuple(each if names is not None else (np.repeat(part, x.shape[1]) for part in each))


def _units(transform: nn.Module, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and unit of each element (n,), by which stored values become those that the likelihood scores."""
    if isinstance(transform, Standardize):
        return _of_each(transform.mean, n), _of_each(transform.scale, n)
    unit = transform.scale if isinstance(transform, Pixels) and transform.scale is not None else 1.0
    return np.zeros(n), np.full(n, float(unit))


def _of_each(part: Tensor, n: int) -> np.ndarray:
    """A number for each element (n,), of those of all elements, of one step of a series, or of one number for all."""
    return np.tile(part.numpy().reshape(-1), n // part.numel())
