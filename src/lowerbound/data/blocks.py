"""Walking over an array a few rows at a time.

An array larger than memory is a memory map: every check, sum and checksum must see all of it
without ever holding all of it. `row_blocks` cuts any array into runs of rows of about 32 MiB each,
so that one code path serves an array in memory and an array on disk, and gives the same answer for
both.
"""

from collections.abc import Iterator

import numpy as np

__all__ = ["BLOCK_BYTES", "model_dtype", "row_blocks"]

BLOCK_BYTES = 32 * 2**20


def model_dtype(x: np.ndarray) -> np.dtype:
    """The type in which the rows of `x` reach a model: bytes stay bytes, all else is float32."""
    return np.dtype(np.uint8) if x.dtype == np.uint8 else np.dtype(np.float32)


def row_blocks(
    x: np.ndarray, rows: np.ndarray | None = None, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield `(first_row, block)` over the rows of `x`, each block in the type of `model_dtype`.

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
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            yield start, np.asarray(block).astype(model_dtype(x), copy=False)
