"""The user's own table or array with its gaps filled: every other cell, column and row stays as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.assemble import Rows, to_rows
from lowerbound.data.catalog import names
from lowerbound.data.cells import read_cells
from lowerbound.data.foreign_tables import in_pandas
from lowerbound.data.frame_of_series import channels_of
from lowerbound.data.given import rows_under
from lowerbound.data.kinds import kind_named
from lowerbound.data.readers import read_contents
from lowerbound.data.rows_of_columns import frame_of_rows, kept_places, rounded
from lowerbound.data.schema import Column, Schema
from lowerbound.data.steps_of_series import places_of
from lowerbound.data.tables import contents_of_frame

__all__ = ["filled_column", "filled_table", "read_own"]


def read_own(data: Any, schema: Schema) -> tuple[Any, Rows]:
    """The rows that the user gave, as a DataFrame or an array, and the same under the schema of a fit; read once.

    Arguments:
        data: a DataFrame, an array, the path of a file, or anything else that `Fitted.rows` takes.
        schema: of the fit.

    Returns:
        The user's own table, None where data are no single table of theirs, and its rows.

    Raises:
        DataError: as `rows_under`.
    """
    data = in_pandas(data)
    if not isinstance(data, str | Path) or str(data) in names():
        is_own = isinstance(data, np.ndarray) or (hasattr(data, "columns") and hasattr(data, "iloc"))
        return (data if is_own else None), rows_under(data, schema)
    path = Path(data)
    contents = read_contents(path)
    own = contents.x if contents.x_test is None else None
    if schema.label is not None:
        if not isinstance(contents.x, np.ndarray) and schema.label in map(str, contents.x.columns):
            contents = contents_of_frame(
                contents.x, schema.label, what=contents.what, container=contents.container, notes=contents.notes
            )
        elif isinstance(contents.x, np.ndarray):
            contents = read_contents(path, usual_label=schema.label)
    return own, to_rows(contents, schema, name=path.name)


def filled_table(own: Any, stored: np.ndarray, gap: np.ndarray, schema: Schema) -> Any:
    """The table with complete rows of the model in its gaps.

    Arguments:
        own: from `read_own`; None gives the rows of the model in the form of the data of the fit.
        stored: complete rows (N, D), as they are stored.
        gap: which entries were missing (N, D).
        schema: of the fit.
    """
    if own is None:
        return kind_named(schema.kind).render(stored, schema)
    if schema.series is not None and not isinstance(own, np.ndarray):
        return _filled_series(own, stored, gap, schema)
    if schema.columns is None:
        return np.where(gap, schema.laid_out(stored), own).astype(own.dtype)
    if isinstance(own, np.ndarray):
        return _filled_array(own, stored, gap, schema)
    table, names_of_own = own.copy(), list(map(str, own.columns))
    for i, column in enumerate(schema.columns):
        if gap[:, i].any():
            place = names_of_own.index(column.name) if schema.has_names else i
            found = _like(own.iloc[:, place], stored[:, i], column, schema)
            table.isetitem(place, filled_column(own.iloc[:, place], found, gap[:, i]))
    return table


def _like(own: Any, stored: np.ndarray, column: Column, schema: Schema) -> Any:
    """Stored values (N,) as the fit had them, and dates as the user's column has them: texts, moments or days."""
    import pandas

    if column.kind == "date":
        stored, cells = rounded(stored, column), read_cells(own)
        if cells.nature == "date":
            column = replace(column, dtype=cells.dtype, format=cells.format)
    alone = Schema(kind="table", event_shape=(1,), container=schema.container, columns=(column,))
    found = frame_of_rows(stored[:, None], alone).iloc[:, 0].set_axis(own.index)
    are_days = column.kind == "date" and own.dtype == object and {*map(type, own.dropna())} == {date}
    return pandas.to_datetime(found).dt.date if are_days else found


def _filled_series(own: Any, stored: np.ndarray, gap: np.ndarray, schema: Schema) -> Any:
    """A table of steps with its gaps filled in the rows that it has; steps without a row get none."""
    series = schema.series
    assert series is not None
    places, table, names = places_of(own, series, "the table"), own.copy(), [str(name) for name in own.columns]
    values, missing = (part[places.series, places.step] for part in (stored, gap))
    for i, column in enumerate(channels_of(series)):
        if missing[:, i].any():
            place = names.index(column.name)
            found = _like(own.iloc[:, place], values[:, i], column, schema)
            table.isetitem(place, filled_column(own.iloc[:, place], found, missing[:, i]))
    return table


def filled_column(column: Any, found: Any, gap: np.ndarray) -> Any:
    """A column of the user's with the values of the model where it had none, in its own type where that holds both;
    floats, in which pandas keeps whole numbers with gaps, become whole numbers where these are all.
    """
    import pandas

    filled, dtype = found if gap.all() else _with_values(column, found, gap), column.dtype
    of_floats = dtype.kind == "f" and (gap.all() or filled.dtype.kind in "iu")
    if filled.dtype == dtype or isinstance(dtype, pandas.CategoricalDtype):
        return filled
    if isinstance(dtype, np.dtype) and (dtype.kind == "O" or of_floats):
        return filled
    try:
        as_given = filled.astype(dtype)
    except (TypeError, ValueError, NotImplementedError):  # a text where numbers were, or a number beyond the type
        return filled
    return as_given if bool((as_given == filled).all()) else filled


def _with_values(column: Any, found: Any, gap: np.ndarray) -> Any:
    """The same, in the narrowest type that holds both."""
    import pandas

    if isinstance(column.dtype, pandas.CategoricalDtype):
        new = [value for value in found[gap].unique() if value not in column.cat.categories]
        return column.cat.add_categories(new).mask(gap, found.astype(object))
    if getattr(column.dtype, "tz", None) is not None:
        zone = found if getattr(found.dtype, "tz", None) is not None else found.dt.tz_localize("UTC")
        found = zone.dt.tz_convert(column.dtype.tz)
    if column.dtype == found.dtype:
        return column.mask(gap, found)
    if pandas.api.types.is_bool_dtype(column.dtype):
        return column.mask(gap, found.astype("boolean").astype(column.dtype))
    if column.dtype.kind == "M" or found.dtype.kind == "M" or not _are_numbers(column, found):
        return column.astype(object).mask(gap, found.astype(object))
    values = found.astype("Float64")
    filled = column.astype("Float64").mask(gap, values)
    if str(found.dtype).startswith(("Int", "UInt", "int", "uint")) and bool((filled == filled.round()).all()):
        return filled.astype("Int64" if column.dtype.kind == "f" or filled.max() < 2**63 else "UInt64")
    return filled.astype(column.dtype if column.dtype.kind == "f" else "Float64")


def _are_numbers(*columns: Any) -> bool:
    from pandas.api import types

    return all(types.is_numeric_dtype(c.dtype) and not types.is_bool_dtype(c.dtype) for c in columns)


def _filled_array(own: np.ndarray, stored: np.ndarray, gap: np.ndarray, schema: Schema) -> np.ndarray:
    places, alone = kept_places(own, schema), replace(schema, left_out=())
    values = np.asarray(kind_named(schema.kind).render(stored, alone))
    filled = np.array(own, dtype=own.dtype if own.dtype.kind == "f" else np.float64)
    chosen = list(range(own.shape[1])) if places is None else places
    filled[:, chosen] = np.where(gap, values, filled[:, chosen])
    constant = {int(item.name): item.value for item in schema.left_out if item.value is not None}
    for place, value in constant.items() if own.shape[1] > len(chosen) else ():
        filled[:, place] = np.nan_to_num(filled[:, place], nan=value)
    return filled
