"""Rows of a sparse matrix, made dense when they are asked for, and never all at once.

A matrix of cells by genes is mostly zeros: of 100,000 cells and 20,000 genes 8 GB as numbers, a tenth of it as CSR. It
takes the place of a memory map as the rows of a data set: `row_blocks`, checks, checksums and training read some rows
at a time, and see the same numbers as in the dense matrix.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from lowerbound.data.memory import check_memory
from lowerbound.data.on_disk import OnDisk

__all__ = ["ARRAYS", "DENSE", "IN_FILES", "STAYS", "Array", "SparseRows", "keeps_sparse"]

STAY_SPARSE_ABOVE = 2**28  # bytes that the matrix would take as float32; below, dense rows are faster


class SparseRows:
    """A table (N, D) of which rows are read as dense arrays.

    Arguments:
        matrix: a CSR matrix of scipy.
        dtype: of what is read; that of the matrix if None.

    >>> import scipy.sparse
    >>> SparseRows(scipy.sparse.csr_matrix(np.eye(3)))[1:]
    array([[0., 1., 0.],
           [0., 0., 1.]])
    """

    ndim = 2

    def __init__(self, matrix: Any, dtype: np.dtype | None = None):
        self._matrix = matrix
        self.shape: tuple[int, int] = matrix.shape
        self.dtype = np.dtype(matrix.dtype if dtype is None else dtype)

    @property
    def size(self) -> int:
        """How many numbers there are, zeros among them."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """The bytes that all rows would take."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Rows by number or slice, dense; a single number; of [:, i] a dense column, of [:, places] sparse rows."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if not isinstance(rows, slice):
            if isinstance(columns, slice):
                return self._dense(self._matrix[rows])
            return self.dtype.type(self._matrix[rows, columns])
        if isinstance(columns, slice):
            return self._dense(self._matrix[rows])
        if isinstance(columns, int | np.integer):
            return self._dense(self._by_column[:, [int(columns)]])[rows, 0]
        return SparseRows(self._matrix[rows][:, columns], self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, as what needs them at once asks for them."""
        del copy
        return self._dense(self._matrix).astype(self.dtype if dtype is None else dtype, copy=False)

    def max(self, initial: float = 0) -> float:
        """The largest number."""
        return max(initial, float(self._matrix.max()) if self.size else initial)

    def astype(self, dtype: Any, copy: bool = True) -> SparseRows:
        """The same numbers, read as another type."""
        del copy
        return SparseRows(self._matrix, np.dtype(dtype))

    @cached_property
    def _by_column(self) -> Any:
        return self._matrix.tocsc()

    def _dense(self, part: Any) -> np.ndarray:
        if math.prod(part.shape) * self.dtype.itemsize > STAY_SPARSE_ABOVE:
            check_memory(part.shape, self.dtype.itemsize, "a part of the sparse matrix, as rows,")
        return part.toarray().reshape(-1, part.shape[-1]).astype(self.dtype, copy=False)


Array: TypeAlias = np.ndarray | SparseRows | OnDisk
ARRAYS = (np.ndarray, SparseRows, OnDisk)
DENSE = (np.ndarray, OnDisk)
"""Rows of any number of axes."""
IN_FILES = (np.memmap, OnDisk)
STAYS = (*IN_FILES, SparseRows)
"""Rows that are read when they are needed."""


def keeps_sparse(shape: tuple[int, ...]) -> bool:
    """Whether a sparse matrix of this shape stays sparse."""
    return 4 * shape[0] * shape[1] > STAY_SPARSE_ABOVE
