"""A matrix in compressed rows (CSR) that stays on disk, in an .h5ad file.

The numbers of row i are data[indptr[i] : indptr[i + 1]], in the columns indices[indptr[i] : indptr[i + 1]]. `indptr`, 8
bytes a row, is in memory; of the others no more is read than the rows of a unit hold. What is held is dense: a unit of
16 MiB in the smallest type of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lowerbound.data.errors import DataError, clipped
from lowerbound.data.on_disk import Stamp

__all__ = ["CompressedRows", "Slice", "StoredRows"]

_UNIT_BYTES = 16 * 2**20
_AT_ONCE = 2**22

Slice = Callable[[int, int], np.ndarray]
"""From the first place and the one after the last to the numbers between."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRows:
    """A CSR matrix in a file.

    Attributes:
        stamp: of the file.
        name: of the matrix in the file.
        shape: of the matrix.
        indptr: int64 (N + 1,).
        data: the stored numbers, of which a slice is read.
        indices: their columns.
        dtype: of the numbers.
    """

    stamp: Stamp
    name: str
    shape: tuple[int, int]
    indptr: np.ndarray
    data: Slice
    indices: Slice
    dtype: np.dtype

    def stored(self) -> Iterator[np.ndarray]:
        """The stored numbers, a few million at a time."""
        last = int(self.indptr[-1])
        for i in range(math.ceil(last / _AT_ONCE)):
            yield self.data(i * _AT_ONCE, min((i + 1) * _AT_ONCE, last))


class CompressedRows:
    """The rows of a CSR matrix as dense rows.

    Arguments:
        rows: the matrix.
        dtype: of the dense rows, which holds every number of it.

    Raises:
        DataError: `indptr` is not one of a matrix of this shape.
    """

    def __init__(self, stored: StoredRows, dtype: np.dtype):
        self.stamp, self.name, self.dtype = stored.stamp, stored.name, np.dtype(dtype)
        shape, indptr = stored.shape, stored.indptr
        self.num_rows, self.event_shape = shape[0], (shape[1],)
        self._indptr, self._data, self._indices = indptr.astype(np.int64), stored.data, stored.indices
        if len(indptr) != shape[0] + 1 or indptr[0] != 0 or (np.diff(self._indptr) < 0).any():
            raise self._broken()
        rows = max(1, _UNIT_BYTES // max(1, shape[1] * self.dtype.itemsize))
        self.units = np.append(np.arange(0, shape[0], rows), shape[0])

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Part`."""
        start, stop = int(rows[0]), int(rows[-1]) + 1
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        try:
            data, columns = self._data(first, last), self._indices(first, last)
        except (OSError, ValueError, KeyError) as error:
            raise self._broken() from error
        if len(data) != last - first or len(columns) != last - first:
            raise self._broken()
        if len(columns) and not (columns.min() >= 0 and columns.max() < self.event_shape[0]):
            raise self._broken()
        of_each = np.repeat(np.arange(stop - start), np.diff(self._indptr[start : stop + 1]))
        places = of_each * self.event_shape[0] + columns
        if not (np.diff(places) > 0).all() and len(np.unique(places)) < len(places):
            raise DataError(
                f"{clipped(self.name)} of '{clipped(self.stamp.path.name)}' stores a number twice; add such numbers up "
                "(matrix.sum_duplicates()) and save it again."
            )
        found = np.zeros((stop - start, *self.event_shape), self.dtype)
        found.reshape(-1)[places] = data
        return found

    def _broken(self) -> DataError:
        return DataError(
            f"{clipped(self.name)} of '{clipped(self.stamp.path.name)}' is no matrix in compressed rows; it may be "
            "altered: save it again."
        )
