"""Walking over an array a few rows at a time, without changing a value.

An array larger than memory is a memory map: every check, sum and checksum must see all of it
without ever holding all of it. `row_blocks` cuts any array into runs of rows of about 32 MiB each,
so that one code path serves an array in memory and an array on disk, and gives the same answer for
both.

The type in which numbers are stored says nothing about their meaning. `exact_dtype` is a type of torch that holds each
of them exactly: float32 for small integers and halves, float64 for others. Bytes remain bytes, because they are exact
and small. A transform turns them into what a likelihood scores.
"""

from collections.abc import Iterator

import numpy as np

from lowerbound.data.passes import passed
from lowerbound.data.sparse import Array

__all__ = ["BLOCK_BYTES", "exact_dtype", "row_blocks"]

BLOCK_BYTES = 32 * 2**20


def exact_dtype(dtype: np.dtype) -> np.dtype:
    """uint8, float32 or float64: the smallest of these that holds every value of a type exactly.

    >>> exact_dtype(np.dtype("int16")), exact_dtype(np.dtype("int32"))
    (dtype('float32'), dtype('float64'))
    """
    if dtype == np.uint8:
        return np.dtype(np.uint8)
    small = dtype.kind == "b" or dtype.itemsize <= 2 or dtype == np.float32
    return np.dtype(np.float32) if small else np.dtype(np.float64)


def row_blocks(
    x: Array, rows: np.ndarray | None = None, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield `(first_row, block)` over the rows of `x`, each block in the type of `exact_dtype`.

    Arguments:
        x: an array (N, *event_shape), in memory or memory-mapped.
        rows: the rows to visit, in that order; all of them if None.
        block_bytes: how many bytes of `x` one block may hold, at least one row.

    Yields:
        The position of the block's first row among the rows visited, and the rows, read into
        memory.
    """
    num_rows = len(x) if rows is None else len(rows)
    row_bytes = max(1, x.nbytes // max(1, len(x)))
    step = max(1, block_bytes // row_bytes)
    for start in range(0, num_rows, step):
        stop = min(start + step, num_rows)
        block = x[start:stop] if rows is None else x[rows[start:stop]]
        yield start, np.asarray(block).astype(exact_dtype(x.dtype), copy=False)
        passed("rows", stop, num_rows)
