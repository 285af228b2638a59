"""From the user's table to stored rows and back, column by column, under a schema.

Rows are float64 until they are standardised: numbers unchanged, dates as seconds since 1970, categories as their
numbers, NaN where a cell is missing. Columns are matched by name, in any order, if both sides have names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from lowerbound.data.blocks import exact_dtype, row_blocks
from lowerbound.data.cells import Cells, codes_as_numbers, first_no_date, read_cells
from lowerbound.data.checks import check_features, check_finite
from lowerbound.data.column_labels import index_of
from lowerbound.data.contents import Given
from lowerbound.data.errors import DataError
from lowerbound.data.labels import number_text
from lowerbound.data.schema import Column, Schema, plain_dtype
from lowerbound.data.sparse import ARRAYS, IN_FILES, STAYS, Array

__all__ = ["frame_of_rows", "kept_places", "rounded", "rows_of_table", "stored_cell", "wide_enough"]

_YEARS_OF_NANOSECONDS = (-9.2e9, 9.2e9)  # seconds since 1970: the years 1678 to 2261
_YEARS_OF_TEXT = (-6.2e10, 2.5e11)  # the years 5 to 9892
_NUMBERED = ("categorical", "ordinal", "boolean")
_TRUTH = {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}


def rows_of_table(x: Given | Array, schema: Schema, what: str) -> Array:
    """Stored rows (N, D) of a table; a memory map stays one.

    Raises:
        DataError: columns are missing, or hold values that the schema does not have.
    """
    columns = schema.columns
    assert columns is not None
    rows = _of_array(x, schema, what) if isinstance(x, ARRAYS) else _of_frame(x, schema, what)
    check_finite(rows, what, schema.column_names, missing=True)
    return rows


def stored_cell(value: Any, column: Column, what: str) -> float:
    """One value of a column as it is stored; text where numbers are expected is read as a number, and words such as
    true, yes and 1 where the column holds truth values.

    Raises:
        DataError: it is no value of the column.
    """
    import pandas

    if isinstance(value, str) and column.kind in ("continuous", "positive", "count"):
        with suppress(ValueError):
            value = float(value)
    if column.kind == "boolean" and _is_binary(column) and str(value).lower() in _TRUTH:
        return _TRUTH[str(value).lower()]
    try:
        stored = float(_numbers(read_cells(pandas.Series([value])), column, what)[0])
    except DataError:
        stored = np.nan
    if not np.isfinite(stored):
        known = ", ".join(name[:30] for name in (column.categories or ())[:5])
        expected = f"one of {known}" if known else "a date such as 2024-02-29" if column.kind == "date" else "a number"
        raise DataError(f"column '{column.name[:40]}' of {what} is {str(value)[:40]!r}; expected {expected}.")
    return stored


def frame_of_rows(x: np.ndarray, schema: Schema) -> Any:
    """Turn stored rows (N, D) into a DataFrame like the user's, with its names, types, categories and decimals."""
    import pandas

    assert schema.columns is not None
    cells = {column.name: _series(x[:, i], column, schema.container) for i, column in enumerate(schema.columns)}
    frame = pandas.DataFrame(cells)
    return frame.set_axis(index_of(schema), axis=1)


def rounded(x: np.ndarray, column: Column) -> np.ndarray:
    """Round values to what the column allows: categories in range, counts, and no more decimals than in the fit."""
    if column.kind in _NUMBERED and column.categories is not None:
        return np.clip(np.round(x), 0, len(column.categories) - 1)
    if column.kind == "date":
        unit = {"%Y-%m-%d": 86400, "%Y-%m-%d %H:%M": 60}.get((column.format or "").replace("T", " "), 1)
        return x if (column.format or "").endswith("%f") else np.round(x / unit) * unit
    values = x if column.decimals is None else np.round(x, column.decimals)
    return np.maximum(values, 0) if column.kind == "count" else values


def _of_array(x: Array, schema: Schema, what: str) -> Array:
    columns = schema.columns
    assert columns is not None
    kept = kept_places(x, schema)
    if kept is None:
        check_features(x, schema.event_shape, what)
    elif kept != list(range(x.shape[1])):
        x = x[:, kept]
    _check_binary(x, columns, what)
    if not any(_needs_numbers(column) for column in columns):
        if isinstance(x, STAYS):
            return x if isinstance(x, IN_FILES) else x.astype(_in_memory(x.dtype))
        return np.ascontiguousarray(x, dtype=_in_memory(x.dtype))
    rows = np.array(x, dtype=np.float64)
    for i, column in enumerate(columns):
        if _needs_numbers(column):
            rows[:, i] = _numbered(Cells(nature="number", dtype=str(x.dtype), numbers=rows[:, i]), column, what)
    return rows


def kept_places(x: Array, schema: Schema) -> list[int] | None:
    """The positions of the schema's columns in an array of all columns; None if the array does not have all."""
    names = schema.column_names
    assert names is not None
    if schema.has_names or x.ndim != 2 or x.shape[1] != len(names) + len(schema.left_out):
        return list(range(len(names))) if x.ndim == 2 and x.shape[1] == len(names) else None
    return [int(name) for name in names] if all(name.isdigit() for name in names) else list(range(len(names)))


def _check_binary(x: Array, columns: Sequence[Column], what: str) -> None:
    """Refuse values other than 0 and 1 where the fit saw no others."""
    places = np.flatnonzero([column.kind == "boolean" and _is_binary(column) for column in columns])
    for start, block in row_blocks(x) if len(places) else ():
        values = block[:, places]
        strange = np.argwhere((values != 0) & (values != 1) & ~np.isnan(values))
        if len(strange):
            row, place = strange[0]
            name = columns[int(places[place])].name
            raise DataError(
                f"column '{name[:40]}' of {what} holds {values[row, place]:g} at row {start + row}; "
                "the model knows 0 and 1: leave such rows out."
            )


def _in_memory(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype == np.uint8 else exact_dtype(dtype)


def _of_frame(frame: Any, schema: Schema, what: str) -> np.ndarray:
    columns = schema.columns
    assert columns is not None
    frame = _matched(frame, schema, what)
    rows = np.empty((len(frame), len(columns)))
    for i, column in enumerate(columns):
        rows[:, i] = _numbers(read_cells(frame.iloc[:, i]), column, what)
    return rows


def _matched(frame: Any, schema: Schema, what: str) -> Any:
    """The columns of the schema, in its order; by position where the model's columns had no names."""
    assert schema.columns is not None
    names = [str(name) for name in frame.columns]
    if not schema.has_names:
        if len(names) != len(schema.columns):
            raise DataError(f"{what} has {len(names)} columns; expected {len(schema.columns)}, as in training.")
        return frame
    wanted = [column.name for column in schema.columns]
    places = {name: i for i, name in enumerate(names)}
    missing = [name for name in wanted if name not in places]
    if missing:
        shown = ", ".join(f"'{name[:30]}'" for name in missing[:3]) + (", …" if len(missing) > 3 else "")
        known = set(wanted)
        extra = [name for name in names if name not in known]
        others = ", ".join(f"'{name[:30]}'" for name in extra[:3]) or "none"
        raise DataError(
            f"{what} lacks {len(missing)} of the {len(wanted)} columns of the model ({shown}); of its own it has "
            f"{others}: name them as in training."
        )
    repeated = next((name for name, count in Counter(names).items() if count > 1 and name in set(wanted)), None)
    if repeated is not None:
        raise DataError(f"{what} has two columns named '{repeated[:40]}'; rename one of them.")
    return frame.iloc[:, [places[name] for name in wanted]]


def _numbers(cells: Cells, column: Column, what: str) -> np.ndarray:
    """A column as float64, under its entry in the schema."""
    if column.kind in _NUMBERED:
        return _numbered(cells, column, what)
    if column.kind != "date":
        cells = codes_as_numbers(cells)
    if cells.numbers is not None and (cells.nature == "date") == (column.kind == "date"):
        return cells.numbers
    values = cells.texts if cells.numbers is None else cells.numbers
    if values is not None and all(value is None or value != value for value in values.tolist()):
        return np.full(len(values), np.nan)
    if column.kind == "date" and cells.texts is not None:
        row = first_no_date(cells.texts)
        if row is not None:
            raise DataError(
                f"column '{column.name[:40]}' of {what} holds {str(cells.texts[row])[:40]!r} at row {row}; expected "
                "dates such as 2024-02-29, as in training."
            )
    expected = "dates" if column.kind == "date" else "numbers"
    found = "dates" if cells.nature == "date" else "other things" if cells.nature == "other" else cells.nature + "s"
    raise DataError(f"column '{column.name[:40]}' of {what} holds {found}; expected {expected}, as in training.")


def _needs_numbers(column: Column) -> bool:
    """Whether the numbers of the column are not its values."""
    if column.categories is None:
        return False
    return column.kind in _NUMBERED and column.categories not in (("0", "1"), ("False", "True"))


def _numbered(cells: Cells, column: Column, what: str) -> np.ndarray:
    """The numbers of categories; each must be one of the schema's."""
    assert column.categories is not None
    place: dict[str | None, float] = {name: float(i) for i, name in enumerate(column.categories)}
    place[None] = np.nan
    if column.kind == "boolean" and cells.nature != "text":
        place |= {"0": 0.0, "1": 1.0, "False": 0.0, "True": 1.0} if len(place) == 3 and _is_binary(column) else {}
    texts = cells.as_texts().tolist() if cells.nature != "other" else [None]
    try:
        return np.array([place[text] for text in texts])
    except KeyError as error:
        row, known = texts.index(error.args[0]), ", ".join(repr(name[:30]) for name in column.categories[:4])
        raise DataError(
            f"column '{column.name[:40]}' of {what} holds {str(error.args[0])[:40]!r} at row {row}, which the model "
            f"has not seen; it knows {len(column.categories)} values ({known}, …): leave such rows out."
        ) from None


def _is_binary(column: Column) -> bool:
    return column.categories in (("0", "1"), ("False", "True"))


def _series(x: np.ndarray, column: Column, container: str) -> Any:
    """A pandas Series of the type that the user gave."""
    import pandas

    if (plain := plain_dtype(column.dtype)) != column.dtype:
        return _as_given(_series(x, replace(column, dtype=plain), container), column.dtype)
    values, gaps = rounded(x.astype(np.float64), column), np.isnan(x)
    if column.kind == "date":
        return _dates(values, column)
    if column.kind in _NUMBERED and column.categories is not None:
        return _categories(values, gaps, column)
    if column.dtype.lower().startswith(("int", "uint")):
        dtype = wide_enough(values, column.dtype.lower())
        nullable = column.dtype[0].isupper() or gaps.any()
        return pandas.Series(values).astype(_nullable(dtype) if nullable else dtype)
    if container == "csv" and column.decimals == 0 and wide_enough(values, "int64") == "int64":
        return pandas.Series(values).astype("Int64")
    return pandas.Series(values).astype(column.dtype if column.dtype.lower().startswith("float") else "float64")


def _as_given(series: Any, dtype: str) -> Any:
    """A Series of a plain type in the type of pyarrow, or as sparse, as the user has it."""
    import pandas

    if not dtype.startswith("Sparse"):
        import pyarrow

        return series.astype(pandas.ArrowDtype(pyarrow.type_for_alias(dtype.removesuffix("[pyarrow]"))))
    return series if series.hasnans and series.dtype.kind != "f" else series.astype(pandas.SparseDtype(series.dtype))


def _nullable(dtype: str) -> str:
    return dtype.replace("uint", "UInt") if dtype.startswith("u") else dtype.capitalize()


def wide_enough(x: np.ndarray, dtype: str) -> str:
    """The integer type, or a wider type if there are values beyond its range, as there can be among draws.

    >>> wide_enough(np.array([3.0, 300.0]), "uint8"), wide_enough(np.array([3.0]), "uint8")
    ('int64', 'uint8')
    """
    known = x[~np.isnan(x)]
    low, high = float(known.min(initial=0)), float(known.max(initial=0))
    for name in (dtype, "int64"):
        if np.iinfo(name).min <= low and high < float(np.iinfo(name).max) + (np.iinfo(name).max < 2**53):
            return name
    return "float64"


def _categories(values: np.ndarray, gaps: np.ndarray, column: Column) -> Any:
    """Categories by name, in the type that they had."""
    import pandas

    assert column.categories is not None
    codes = np.where(gaps, -1, values).astype(np.int64)
    names = np.array([*column.categories, None], dtype=object)
    if column.kind == "boolean" and column.categories == ("False", "True") and column.dtype == "object":
        names = np.array([False, True, None], dtype=object)  # of Python's own, between gaps
    inner = column.dtype.removeprefix("category").strip("[]")
    if column.dtype.startswith("category"):
        cells = [float(name) if inner else name for name in column.categories]
        categories: Any = pandas.Index(cells).astype(inner) if inner else list(column.categories)
        return pandas.Series(
            pandas.Categorical.from_codes(codes, categories=categories, ordered=column.kind == "ordinal")
        )
    if column.dtype in ("object", "str", "string"):
        return pandas.Series(names[codes], dtype=column.dtype if column.dtype != "object" else object)
    if column.dtype.startswith("bool"):
        truth = pandas.Series(pandas.array(codes == 1, dtype="boolean"))
        truth[gaps] = pandas.NA
        return truth.astype("boolean" if gaps.any() or column.dtype == "boolean" else "bool")
    numbers = pandas.Series([np.nan if code < 0 else float(names[code]) for code in codes.tolist()])
    whole = all(number_text(float(name)) == name and "." not in name for name in column.categories)
    if column.dtype.lower().startswith(("int", "uint")) or whole:
        return numbers.astype(column.dtype if not gaps.any() and not column.dtype.startswith("float") else "Int64")
    return numbers


def _dates(values: np.ndarray, column: Column) -> Any:
    import pandas

    low, high = _YEARS_OF_NANOSECONDS if "[ns" in column.dtype else _YEARS_OF_TEXT
    known = ~np.isnan(values)
    ticks = np.full(len(values), np.datetime64("NaT"), dtype="datetime64[us]")
    ticks[known] = np.round(values[known].clip(low, high) * 1e6).astype(np.int64).astype("datetime64[us]")
    moments = pandas.Series(ticks)
    if column.dtype.startswith("datetime"):
        zone = column.dtype.partition(", ")[2].rstrip("]")
        return moments.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else moments.astype(column.dtype)
    texts = moments.dt.strftime(column.format or "%Y-%m-%d %H:%M:%S")
    return texts.where(moments.notna(), None).astype(column.dtype)
