"""An order of rows for storage where a single row is dear: units in random order, and rows in random order in windows.

A unit is a run of rows that is read as a whole, such as a group of rows of a Parquet file. An epoch takes all units in
the order of a random permutation; windows are runs of this order, of as many units as fit into `window` rows and at
least one; and the rows of each window come in the order of another random permutation. So each row is seen once an
epoch, each unit is read once an epoch, and a reader holds one window. Position and epoch alone determine the row.
Rows that are read and not seen, because they are held out, take room in a window like others.

Rows of one window are mixed, rows of different windows are not: units whose rows resemble each other (classes in a row)
want windows of many units. A window of all rows gives a permutation of all rows.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lowerbound.data.permutation import Permutation

__all__ = ["Windowed"]

_OF_UNITS, _OF_ROWS = 0, 1


class Windowed:
    """The order of one epoch, a part at a time.

    Arguments:
        bounds: int64 (U + 1,), the first row of each unit and the number of all rows.
        read: int64 (U,), how many rows are read with each unit, those that are not seen included.
        window: the most rows that are read for a window.
        seeds: see `Permutation`.
    """

    def __init__(self, bounds: np.ndarray, read: np.ndarray, window: int, seeds: tuple[int, ...]):
        self._seeds = seeds
        units = Permutation(len(bounds) - 1, seeds, (_OF_UNITS,), keyed_above=len(bounds))
        self._units = units.part(0, len(bounds) - 1).numpy()
        self._first, lengths = bounds[self._units], np.diff(bounds)[self._units]
        self._ends = np.cumsum(lengths)
        self._groups = _grouped(read[self._units], window)
        self._windows = np.append(0, self._ends)[self._groups]
        self._orders: dict[int, Permutation] = {}

    def part(self, start: int, stop: int) -> Int64[Tensor, " row"]:
        """The rows at positions start … stop − 1 of the epoch."""
        found = []
        while start < stop:
            number = int(np.searchsorted(self._windows, start, side="right")) - 1
            first, end = int(self._windows[number]), int(self._windows[number + 1])
            places = first + self._order(number, end - first).part(start - first, min(stop, end) - first)
            found.append(self._rows(places.numpy()))
            start = end
        return torch.from_numpy(np.concatenate(found)) if found else torch.empty(0, dtype=torch.int64)

    def window(self, position: int) -> np.ndarray:
        """The units of the window in which a position lies."""
        number = int(np.searchsorted(self._windows, position, side="right")) - 1
        return self._units[self._groups[number] : self._groups[number + 1]]

    def end_of_window(self, position: int) -> int:
        """The first position after the window in which a position lies."""
        return int(self._windows[int(np.searchsorted(self._windows, position, side="right"))])

    def _rows(self, places: np.ndarray) -> np.ndarray:
        """From places in the order of the units to numbers of rows."""
        unit = np.searchsorted(self._ends, places, side="right")
        begin = np.where(unit > 0, self._ends[unit - 1], 0)
        return self._first[unit] + places - begin

    def _order(self, number: int, length: int) -> Permutation:
        """That of a window; the two used last are kept."""
        if number not in self._orders:
            while len(self._orders) > 1:
                del self._orders[next(iter(self._orders))]
            self._orders[number] = Permutation(length, self._seeds, (_OF_ROWS, number))
        return self._orders[number]


def _grouped(lengths: np.ndarray, window: int) -> np.ndarray:
    """The first unit of each window, by its place in the order of the epoch, and the number of units."""
    ends = np.append(0, np.cumsum(lengths))
    bounds = [0]
    while bounds[-1] < len(lengths):
        fitting = int(np.searchsorted(ends, ends[bounds[-1]] + window, side="right")) - 1
        bounds.append(max(fitting, bounds[-1] + 1))
    return np.array(bounds)
