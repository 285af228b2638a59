"""Rows that stay on disk, in one file or many, and are read when they are asked for.

It takes the place of an array as the rows of a data set: `row_blocks`, checks, checksums and training read some rows at
a time, and see the same numbers as in memory. What can be read alone (rows of .npy) is read alone, so that nothing is
held; what is read in units (groups of rows of Parquet, compressed archives) is held in memory, unit by unit, up to
`window` bytes. A thread of its own reads units, those of the next window before they are needed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

import numpy as np

from lowerbound.data.errors import DataError, clipped

__all__ = ["WINDOW", "OnDisk", "Part", "Stamp", "Store"]

WINDOW = 2**30
"""Bytes of units that are held in memory: half of them are the rows that are mixed, half are read ahead."""


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was opened."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file as it is now."""
        found = path.stat()
        return cls(path, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Refuse a file that has changed.

        Raises:
            DataError: naming it.
        """
        try:
            same = Stamp.of(self.path) == self
        except OSError:
            same = False
        if not same:
            raise DataError(
                f"'{clipped(self.path.name)}' has changed or gone since it was opened; data must stay as they are "
                "while they are read: start again."
            )


@runtime_checkable
class Part(Protocol):
    """The rows of one file.

    Attributes:
        stamp: of the file.
        num_rows: how many rows there are.
        event_shape: of each of them.
        dtype: of each of them.
        units: int64 (U + 1,), the first row of each unit and the number of rows; None if each row can be read alone.
    """

    @property
    def stamp(self) -> Stamp:
        """See above."""
        ...

    @property
    def num_rows(self) -> int:
        """See above."""
        ...

    @property
    def event_shape(self) -> tuple[int, ...]:
        """See above."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """See above."""
        ...

    @property
    def units(self) -> np.ndarray | None:
        """See above."""
        ...

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows with these numbers, at least one, which ascend; of a unit, or of any rows where there are none.

        Raises:
            DataError: the file cannot be read.
        """
        ...


class Store:
    """The rows of several files, one after another.

    Arguments:
        parts: files whose rows have one shape and one type.
        window: see `WINDOW`.
    """

    def __init__(self, parts: Sequence[Part], window: int = WINDOW):
        self.parts, self.window = tuple(parts), window
        self.event_shape, self.dtype = parts[0].event_shape, parts[0].dtype
        self.bounds = np.concatenate([[0], np.cumsum([part.num_rows for part in parts])]).astype(np.int64)
        self.row_bytes = max(1, int(np.prod(self.event_shape, dtype=np.int64)) * self.dtype.itemsize)
        self._held: OrderedDict[int, Future[np.ndarray]] = OrderedDict()
        self._rows_held, self._asked, self._ended = 0, list[int](), WeakSet[threading.Thread]()
        self._lock, self._reader = threading.Lock(), ThreadPoolExecutor(1, thread_name_prefix="lowerbound-units")

    @cached_property
    def unit_bounds(self) -> np.ndarray | None:
        """The first row of each unit, over all files, and the number of rows; None if each row can be read alone."""
        if all(part.units is None for part in self.parts):
            return None
        firsts = [
            first + (np.array([0]) if part.units is None else part.units[:-1])
            for first, part in zip(self.bounds[:-1], self.parts, strict=True)
        ]
        return np.concatenate([*firsts, self.bounds[-1:]])

    @property
    def rows_of_window(self) -> int:
        """How many rows are mixed at a time, and at least those of one unit."""
        return max(1, self.window // 2 // self.row_bytes)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows with these numbers, which ascend."""
        out = np.empty((len(rows), *self.event_shape), self.dtype)
        edges = self.bounds if self.unit_bounds is None else self.unit_bounds
        group = np.searchsorted(edges, rows, side="right")
        starts = np.flatnonzero(np.diff(group, prepend=-1)).tolist()
        for a, b in pairwise([*starts, len(rows)]):
            i = int(group[a]) - 1
            first = int(edges[i])
            if self.unit_bounds is None:
                out[a:b] = self._read_part(i, rows[a:b] - first)
            else:
                out[a:b] = self._awaited(i)[rows[a:b] - first]
        return out

    def ahead(self, units: Sequence[int]) -> None:
        """Begin to read units, the one that is needed first before the others, as many as are held at once.

        What is used last is kept longest, so that none of them makes room for another.
        """
        if units == self._asked:
            return
        self._asked, room = list(units), self._room
        for unit in units:
            room -= self._length(unit)
            if room < 0:
                return
            self._unit(unit)

    def stop(self, thread: threading.Thread) -> None:
        """Leave out units of `ahead` that were not begun, for which a process that ends would wait, and let this thread
        read no others.
        """
        with self._lock:
            self._ended.add(thread)
            for number in [number for number, unit in self._held.items() if unit.cancel()]:
                del self._held[number]
                self._rows_held -= self._length(number)
            self._asked = []

    @property
    def _room(self) -> int:
        """How many rows are held at most, or one unit."""
        return self.window // self.row_bytes

    def _awaited(self, number: int) -> np.ndarray:
        """The rows of a unit, which is asked for again where it was left out for another thread."""
        while threading.current_thread() not in self._ended:
            try:
                return self._unit(number).result()
            except CancelledError:
                continue
        raise CancelledError

    def _unit(self, number: int) -> Future[np.ndarray]:
        """A unit that is held or being read; those used longest ago make room for it."""
        with self._lock:
            if number in self._held:
                self._held.move_to_end(number)
                return self._held[number]
            self._rows_held += self._length(number)
            while self._held and self._rows_held > self._room:
                self._rows_held -= self._length(self._held.popitem(last=False)[0])
            self._held[number] = self._reader.submit(self._read_unit, number)
            return self._held[number]

    def _length(self, unit: int) -> int:
        assert self.unit_bounds is not None
        return int(self.unit_bounds[unit + 1] - self.unit_bounds[unit])

    def _read_unit(self, number: int) -> np.ndarray:
        assert self.unit_bounds is not None
        first, last = self.unit_bounds[number], self.unit_bounds[number + 1]
        i = int(np.searchsorted(self.bounds, first, side="right")) - 1
        return self._read_part(i, np.arange(first, last) - self.bounds[i])

    def _read_part(self, number: int, rows: np.ndarray) -> np.ndarray:
        part = self.parts[number]
        part.stamp.check()
        found = part.read(rows)
        if found.shape != (len(rows), *self.event_shape):
            raise DataError(
                f"'{clipped(part.stamp.path.name)}' gave rows of shape {found.shape[1:]} and others have "
                f"{self.event_shape}; give shards of one shape."
            )
        return found


class OnDisk:
    """An array (N, *event_shape) of which rows are read as they are needed; its views read the same files.

    Arguments:
        store: the files.
        dtype: of what is read; that of the files if None.
        views: names and arguments of changes to each block of rows, see `_VIEWS`.
    """

    def __init__(self, store: Store, dtype: np.dtype | None = None, views: tuple[tuple[str, Any], ...] = ()):
        self.store, self.views = store, views
        self.dtype = store.dtype if dtype is None else np.dtype(dtype)
        self.shape = (int(store.bounds[-1]), *self._seen(np.empty((0, *store.event_shape), store.dtype)).shape[1:])

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """The bytes that all rows would take."""
        return self.size * self.dtype.itemsize

    @property
    def identity(self) -> list[Any]:
        """What tells these rows from others without reading them: files, sizes, times and views."""
        stamps = [part.stamp for part in self.store.parts]
        files = [[str(stamp.path.resolve()), stamp.size, stamp.changed] for stamp in stamps]
        extra = [getattr(part, "name", None) for part in self.store.parts]
        return [files, extra, str(self.dtype), [list(view) for view in self.views]]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Rows by number, slice or mask, in memory; a single number; of [:, i] and [:, places] a view on disk."""
        rows, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, slice) and rows == slice(None) and rest:
            return OnDisk(self.store, self.dtype, (*self.views, ("columns", _plain(rest[0]))))
        if isinstance(rows, int | np.integer):
            return self._rows(np.array([rows]) % len(self))[(0, *rest)]
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        found = self._rows(np.flatnonzero(rows) if rows.dtype == bool else rows)
        return found[(slice(None), *rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, as what needs them at once asks for them."""
        del copy
        return self._rows(np.arange(len(self))).astype(self.dtype if dtype is None else dtype, copy=False)

    def astype(self, dtype: Any, copy: bool = True) -> OnDisk:
        """The same numbers, read as another type."""
        del copy
        return OnDisk(self.store, np.dtype(dtype), self.views)

    def reshape(self, num_rows: int, *shape: int) -> OnDisk:
        """The same rows, each in another shape."""
        assert num_rows == len(self)
        return OnDisk(self.store, self.dtype, (*self.views, ("reshape", list(shape))))

    def channels_first(self) -> OnDisk:
        """The same rows with their last axis as the first."""
        return OnDisk(self.store, self.dtype, (*self.views, ("channels first", None)))

    def max(self, initial: float = 0) -> float:
        """The largest number."""
        from lowerbound.data.blocks import row_blocks

        return max([initial, *(float(block.max(initial=initial)) for _, block in row_blocks(self))])

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        """In the order of the files, which is faster, and then in the order asked for."""
        if len(rows) and (rows.min() < -len(self) or rows.max() >= len(self)):
            raise IndexError(f"row {rows.max()} was asked for and there are {len(self)}.")
        rows = np.where(rows < 0, rows + len(self), rows)
        order = None if (np.diff(rows) >= 0).all() else np.argsort(rows, kind="stable")
        found = self._seen(self.store.read(rows if order is None else rows[order])).astype(self.dtype, copy=False)
        if order is None:
            return found
        back = np.empty_like(found)
        back[order] = found
        return back

    def _seen(self, block: np.ndarray) -> np.ndarray:
        for name, argument in self.views:
            block = _VIEWS[name](block, argument)
        return block


_VIEWS: dict[str, Callable[[np.ndarray, Any], np.ndarray]] = {
    "columns": lambda block, places: block[:, places],
    "reshape": lambda block, shape: block.reshape(len(block), *shape),
    "channels first": lambda block, _: np.moveaxis(block, -1, 1),
}


def _plain(places: Any) -> Any:
    return int(places) if isinstance(places, int | np.integer) else np.asarray(places).tolist()
