"""Rows that come back as the user gave them, whatever the data of the fit looked like.

What a model draws is rounded to the decimals and to the type of the data of the fit, and so must not be rows of a file,
which can have more digits, or halves where the fit saw whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from lowerbound.data import DataError
from lowerbound.data.kinds import kind_named
from lowerbound.data.rows_of_columns import kept_places, rounded
from lowerbound.data.schema import Column, Schema, plain_dtype

__all__ = ["check_shown", "shown"]


def shown(x: np.ndarray, schema: Schema) -> Any:
    """Stored rows (N, *event) in the form of the user's data, as `Kind.render` gives them but for what it rounds."""
    return kind_named(schema.kind).render(x, _unrounded(x, schema))


def check_shown(own: Any, back: Any, schema: Schema) -> None:
    """Refuse a table or an array that does not come back as it was.

    Arguments:
        own: of the user; anything else is not looked at, nor are columns that are not in `back`.
        back: the same rows from `shown`.
        schema: of the fit.

    Raises:
        DataError: naming the first cell that differs.
    """
    for name, mine, found in _columns(own, back, schema):
        same = (mine == found) | ((mine != mine) & (found != found))
        if not same.all():
            row = int(np.argmin(same))
            raise DataError(
                f"column '{str(name)[:40]}' holds {mine[row]!s} at row {row} and would come back as {found[row]!s}: "
                "its numbers have more digits than a model keeps, or it was one value in the fit and is left out; "
                "round it, or leave it out of the data."
            )


def _columns(own: Any, back: Any, schema: Schema) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Name and cells of the columns of numbers that are in both."""
    if schema.columns is None or len(own) != len(back):
        return
    if isinstance(own, np.ndarray) and isinstance(back, np.ndarray) and own.ndim == 2 and own.dtype.kind in "fiu":
        narrower = own.shape[1] != back.shape[1]
        places = kept_places(back, schema) if narrower else None
        kept = back if places is None else back[:, places]
        if own.shape == kept.shape:
            yield from ((i, own[:, i], kept[:, i]) for i in range(own.shape[1]))
    elif schema.has_names and hasattr(own, "iloc") and hasattr(back, "iloc"):
        frame, again = cast(Any, own), cast(Any, back)
        for i, name in enumerate(again.columns):
            mine, found = frame.get(name), again.iloc[:, i]
            if getattr(mine, "ndim", 0) == 1 and _are_numbers(mine) and _are_numbers(found):
                yield name, _cells(mine), _cells(found)


def _are_numbers(column: Any) -> bool:
    from pandas.api import types

    return types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)


def _cells(column: Any) -> np.ndarray:
    """Numbers as Python has them: whole ones with all digits."""
    return column.to_numpy(dtype=object, na_value=np.nan)


def _unrounded(x: np.ndarray, schema: Schema) -> Schema:
    """The schema without the decimals and the types that these rows do not have."""
    if schema.columns is not None:
        columns = tuple(_fitting(x[:, i], column) for i, column in enumerate(schema.columns))
        return replace(schema, columns=columns, dtype=_holding(x, schema.dtype))
    if schema.series is not None:
        parts = [x[..., i].ravel() for i in range(x.shape[-1])]
        of = zip(parts, schema.series.decimals, schema.series.dtypes, strict=True)
        columns = tuple(_fitting(part, Column(name="", kind="continuous", decimals=n, dtype=t)) for part, n, t in of)
        series = replace(
            schema.series, decimals=tuple(c.decimals for c in columns), dtypes=tuple(c.dtype for c in columns)
        )
        return replace(schema, series=series)
    return replace(schema, dtype=_holding(x, schema.dtype)) if x.dtype.kind == "f" else schema


def _fitting(x: np.ndarray, column: Column) -> Column:
    """The column without its decimals, if numbers have more, and as one of float64, if its type does not hold them."""
    if column.kind not in ("continuous", "positive"):
        return column
    exact = x.astype(np.float64)
    if column.decimals is not None and not np.array_equal(rounded(exact, column), exact, equal_nan=True):
        column = replace(column, decimals=None)
    dtype = plain_dtype(column.dtype).lower()
    return column if _holding(exact, dtype) == dtype else replace(column, dtype="float64")


def _holding(x: np.ndarray, dtype: str) -> str:
    """The type if its numbers hold these, but for their range; else float64."""
    if dtype.startswith("float"):
        with np.errstate(over="ignore"):
            holds = np.array_equal(x.astype(dtype), x, equal_nan=True)
    else:
        holds = not dtype.startswith(("int", "uint")) or bool((np.isnan(x) | (np.rint(x) == x)).all())
    return dtype if holds else "float64"
