"""What a user should be told of rows that are taken, and that may not be what was meant.

A column of numbers or dates in other units, nine tenths of whose values lie outside the range that it had in the fit,
is a warning, and so is a given value far outside it; counts have no units. A column that the model has and these rows
have no value of, and rows without any value, are a note: a model can be asked about parts of rows on purpose.
"""

from __future__ import annotations

import numpy as np

from lowerbound.data.dates import date_in_words
from lowerbound.data.errors import clipped
from lowerbound.data.schema import Column, Schema
from lowerbound.data.sparse import Array
from lowerbound.warned import LowerboundWarning

__all__ = ["DataWarning", "empty_rows", "far_from_fit", "in_other_units", "without_values"]

_FEWEST_VALUES, _SHARE, _MOST = 5, 0.9, 5
_WITH_UNITS = ("continuous", "positive", "date")
_ROUNDING = 1e-6  # of the range


class DataWarning(LowerboundWarning):
    """Rows that are taken, and that may not be what was meant; the message says what to look at."""


def in_other_units(x: Array, schema: Schema, what: str) -> tuple[str, ...]:
    """A sentence for each column of rows (N, D) of a table in memory that looks so; of five columns at most.

    Arguments:
        x: stored rows, NaN where missing.
        schema: of the fit.
        what: the name of the rows.
    """
    if schema.columns is None or not _in_memory(x):
        return ()
    found = [_outside(x[:, i], column, what) for i, column in enumerate(schema.columns) if column.kind in _WITH_UNITS]
    return tuple(sentence for sentence in found if sentence)[:_MOST]


def far_from_fit(value: float, column: Column, what: str) -> str:
    """Of one value that lies further outside the range of the fit than this is wide; "" of any other."""
    if column.kind not in _WITH_UNITS or column.low is None or column.high is None:
        return ""
    width = column.high - column.low
    if column.low - width <= value <= column.high + width:
        return ""
    said, low, high = (_words(v, column) for v in (value, column.low, column.high))
    return (
        f"Column '{clipped(column.name)}' of {what} is {said}, far outside the range of the fit, {low} to {high}; "
        "is it in other units?"
    )


def without_values(x: Array, schema: Schema, what: str) -> tuple[str, ...]:
    """A sentence for each column (at most five), and one for all rows, of rows (N, D) in memory without any value."""
    if schema.columns is None or not _in_memory(x) or x.dtype.kind != "f":
        return ()
    places = np.flatnonzero(np.isnan(x).all(axis=0)).tolist()[:_MOST]
    names = [clipped(schema.columns[i].name) for i in places]
    columns = [
        f"Column '{name}' of {what} holds no value; the model takes it as missing in every row." for name in names
    ]
    return (*columns, *empty_rows(x, what))


def empty_rows(x: Array, what: str) -> tuple[str, ...]:
    """A sentence if some of several rows (N, D) in memory have no value at all."""
    if not _in_memory(x) or x.dtype.kind != "f":
        return ()
    empty = np.flatnonzero(np.isnan(x).all(1))
    if not len(empty):
        return ()
    rows = f"{len(empty):,} of the {len(x):,} rows of {what} hold no value (the first is row {empty[0]:,})"
    return (f"{rows}; nothing is learnt from them, and their log p is that of nothing.",)


def _in_memory(x: Array) -> bool:
    return isinstance(x, np.ndarray) and not isinstance(x, np.memmap) and x.ndim == 2


def _outside(x: np.ndarray, column: Column, what: str) -> str:
    """Of values (N,) far from those of the fit; "" where there are few, or most are in its range."""
    if column.low is None or column.high is None:
        return ""
    values = x[~np.isnan(x)] if x.dtype.kind == "f" else x
    room = _ROUNDING * (abs(column.high) + abs(column.low))
    outside = (values < column.low - room) | (values > column.high + room)
    if len(values) < _FEWEST_VALUES or outside.mean() < _SHARE:
        return ""
    low, high, median = (_words(v, column) for v in (column.low, column.high, float(np.median(values))))
    share = f"{100 * outside.mean():.0f} % of its values lie outside the range of the fit"
    name = clipped(column.name)
    return f"Column '{name}' of {what}: {share}, {low} to {high} (their median is {median}); is it in other units?"


def _words(value: float, column: Column) -> str:
    return (column.kind == "date" and date_in_words(value, column.format or "%Y-%m-%d")) or f"{value:g}"
