"""The number of a row in the user's data, for messages of code that sees a part of the rows.

Rows are visited in blocks, and test rows are a part of their file. Whoever takes a part says here where it lies, so
that "row 5" in an error or a warning is row 5 of what the user gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import SupportsIndex

import numpy as np

__all__ = ["numbered", "row_number", "rows_from"]


_PLACE: ContextVar[tuple[int, np.ndarray | None]] = ContextVar("place", default=(0, None))
"""The place of the first row, and the numbers of all rows."""


@contextmanager
def numbered(numbers: np.ndarray | None) -> Iterator[None]:
    """Inside, the rows have these numbers (N,) in the data; None numbers them from 0."""
    with _placed(0, numbers):
        yield


@contextmanager
def rows_from(first: int) -> Iterator[None]:
    """Inside, the rows are those of the data around it from `first` on; blocks of blocks add up."""
    start, numbers = _PLACE.get()
    with _placed(start + first, numbers):
        yield


def row_number(row: SupportsIndex) -> int:
    """The number in the data of a row of the part at hand.

    >>> with numbered(np.array([3, 5, 8])), rows_from(1):
    ...     row_number(1)
    8
    """
    start, numbers = _PLACE.get()
    at = start + int(row)
    return at if numbers is None else int(numbers[at])


@contextmanager
def _placed(start: int, numbers: np.ndarray | None) -> Iterator[None]:
    before = _PLACE.set((start, numbers))
    try:
        yield
    finally:
        _PLACE.reset(before)
