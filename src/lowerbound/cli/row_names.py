"""The names of rows in the files that commands write: cells by their barcodes, series by their column."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowerbound.data import Rows

__all__ = ["named_rows", "named_series_alone", "series_as_text"]


def named_rows(rows: Rows, beside: Container[str]) -> dict[str, Any]:
    """A column `name`, or of series that which names them in the user's table; none where rows have no names.

    Arguments:
        rows: that are named.
        beside: names of the other columns of the file.
    """
    import numpy as np

    if rows.row_names is None:
        return {}
    of_series = named_series_alone(rows, beside)
    return of_series or {"name": np.array(rows.row_names, dtype=object)}


def named_series_alone(rows: Rows, beside: Container[str] = ()) -> dict[str, Any]:
    """The column that names series, for rows that are series of a table of steps; none for others. It is called
    "NAME_series" where another column of the file is called NAME.
    """
    from lowerbound.data.frame_of_series import named_series

    if rows.row_names is None or rows.schema.series is None:
        return {}
    name = rows.schema.series.column
    while name in beside:
        name = f"{name}_series"
    return {name: named_series(rows.row_names, rows.schema.series)}


def series_as_text(rows: Rows) -> dict[str, Any]:
    """The array `series` of names, for an .npz file; none for other rows."""
    import numpy as np

    return {"series": np.array(rows.row_names)} if named_series_alone(rows) else {}
