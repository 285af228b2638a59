"""The names of rows in the files that commands write: cells by their barcodes, series by their column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowerbound.data import Rows

__all__ = ["named_rows", "named_series_alone", "series_as_text"]


def named_rows(rows: Rows) -> dict[str, Any]:
    """A column `name`, or of series that which names them in the user's table; none where rows have no names."""
    import numpy as np

    if rows.row_names is None:
        return {}
    of_series = named_series_alone(rows)
    return of_series or {"name": np.array(rows.row_names, dtype=object)}


def named_series_alone(rows: Rows) -> dict[str, Any]:
    """The column that names series, for rows that are series of a table of steps; none for others."""
    from lowerbound.data.frame_of_series import named_series

    if rows.row_names is None or rows.schema.series is None:
        return {}
    return {rows.schema.series.column: named_series(rows.row_names, rows.schema.series)}


def series_as_text(rows: Rows) -> dict[str, Any]:
    """The array `series` of names, for an .npz file; none for other rows."""
    import numpy as np

    return {"series": np.array(rows.row_names)} if named_series_alone(rows) else {}
