"""A column in the form that the user gave, and as numbers: the contents of its cells, for every type.

==========  =============================================================  ============================
nature      cells                                                          numbers
==========  =============================================================  ============================
number      integers, floating-point and decimal numbers, also as objects  the same
boolean     True and False                                                 0 and 1
date        dates, datetimes, and text such as 2024-02-29 12:30            seconds since 1970
text        any other text; the values of a pandas categorical             none: they are numbered later
other       lists, bytes, durations, …                                     none
==========  =============================================================  ============================

Missing cells are NaN among numbers and None among texts. Text of nothing but blanks is missing, as it is in a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np

from lowerbound.data.labels import number_text

__all__ = ["Cells", "Nature", "codes_as_numbers", "first_no_date", "is_date", "read_cells", "strftime_of"]

Nature: TypeAlias = Literal["number", "boolean", "date", "text", "other"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?")
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """The cells of one column.

    Attributes:
        nature: what they are.
        dtype: the type of the column; "category[int64]" for a pandas categorical of integers.
        numbers: (N,) float64, NaN where missing; None for text and others.
        texts: (N,) objects, text or None where missing; None for numbers.
        categories: the values of a pandas categorical, as text, in its order.
        ordered: whether this order has a meaning.
        format: how dates are written.
    """

    nature: Nature
    dtype: str
    numbers: np.ndarray | None = None
    texts: np.ndarray | None = None
    categories: tuple[str, ...] | None = None
    ordered: bool = False
    format: str | None = None

    def as_texts(self) -> np.ndarray:
        """The cells (N,) as text, None where missing."""
        if self.texts is not None:
            return self.texts
        assert self.numbers is not None
        if self.nature == "boolean":
            names: Any = {0.0: "False", 1.0: "True"}
            return np.array([names.get(value) for value in self.numbers.tolist()], dtype=object)
        found, codes = np.unique(self.numbers, return_inverse=True)
        texts = np.array([None if np.isnan(value) else number_text(value) for value in found], dtype=object)
        return texts[codes.reshape(-1)]


def read_cells(column: Any) -> Cells:
    """The cells of a pandas Series."""
    import pandas

    if str(column.dtype).startswith("dictionary<"):  # of pyarrow
        column = column.astype("category")
    dtype, types = str(column.dtype), pandas.api.types
    if isinstance(column.dtype, pandas.CategoricalDtype):
        return _categorical(column)
    if types.is_bool_dtype(column.dtype):
        return Cells(nature="boolean", dtype=dtype, numbers=_floats(column))
    if types.is_datetime64_any_dtype(column.dtype):
        seconds = _seconds(column)
        return Cells(nature="date", dtype=dtype, numbers=seconds, format=strftime_of(seconds))
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype):
        return Cells(nature="number", dtype=dtype, numbers=_floats(column))
    if types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype):
        return _objects(column, dtype)
    return Cells(nature="other", dtype=dtype)


def codes_as_numbers(cells: Cells) -> Cells:
    """Text of digits alone ("007"), which counts as codes, as the numbers that it spells; other cells as they are."""
    if cells.texts is None or cells.categories is not None:
        return cells
    missing = np.array([text is None for text in cells.texts.tolist()], dtype=bool)
    if missing.all() or not all(text.isdecimal() for text in cells.texts[~missing].tolist()):
        return cells
    return Cells(nature="number", dtype=cells.dtype, numbers=_filled(cells.texts, missing))


def first_no_date(texts: np.ndarray) -> int | None:
    """The place among texts (N,), None where missing, of the first that is no date of the years 1 to 9999."""
    for place, text in enumerate(texts.tolist()):
        if text is not None and not is_date(text):
            return place
    return None


def is_date(text: str) -> bool:
    """Whether it is a date such as 2024-02-29, of the years 1 to 9999."""
    if not _DATE.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def strftime_of(seconds: np.ndarray) -> str:
    """The shortest way of writing all of these seconds since 1970."""
    known = seconds[~np.isnan(seconds)]
    for unit, text in ((86400, "%Y-%m-%d"), (60, "%Y-%m-%d %H:%M"), (1, "%Y-%m-%d %H:%M:%S")):
        if bool((known % unit == 0).all()):
            return text
    return "%Y-%m-%d %H:%M:%S.%f"


def _categorical(column: Any) -> Cells:
    inner = column.cat.categories
    named = [_text(value) for value in inner.tolist()]
    names = tuple(name for name in named if name.strip())
    codes = column.cat.codes.to_numpy()
    texts = np.array([*(name if name.strip() else None for name in named), None], dtype=object)[codes]  # −1 is missing
    dtype = f"category[{inner.dtype}]" if getattr(inner.dtype, "kind", "O") in "iuf" else "category"
    return Cells(nature="text", dtype=dtype, texts=texts, categories=names, ordered=bool(column.cat.ordered))


def _objects(column: Any, dtype: str) -> Cells:
    """Text, or Python objects that are all booleans, all numbers or all text."""
    values = column.astype(object).to_numpy()
    blank = np.array([isinstance(value, str) and not value.strip() for value in values], dtype=bool)
    missing = column.isna().to_numpy() | blank
    present = values[~missing].tolist()
    if present and all(isinstance(value, bool) for value in present):
        return Cells(nature="boolean", dtype=dtype, numbers=_filled(values, missing))
    if present and all(isinstance(value, int | float | np.number | Decimal) for value in present):
        return Cells(nature="number", dtype=dtype, numbers=_filled(values, missing))
    if present and all(type(value) is date for value in present):
        seconds = np.full(len(values), np.nan)
        seconds[~missing] = values[~missing].astype("datetime64[D]").astype("datetime64[s]").astype(np.int64)
        return Cells(nature="date", dtype=dtype, numbers=seconds, format=strftime_of(seconds))
    if not all(isinstance(value, str) for value in present):
        return Cells(nature="other", dtype=dtype)
    if present and all(_DATE.fullmatch(value) for value in present):
        return _dates(column.mask(missing), dtype)
    texts = values.copy()
    texts[missing] = None
    return Cells(nature="text", dtype=dtype, texts=texts)


def _dates(column: Any, dtype: str) -> Cells:
    """Convert text that looks like dates; text with an invalid date (2024-02-30) stays text."""
    import pandas

    try:
        parsed = pandas.to_datetime(column, format="ISO8601")
    except (ValueError, OverflowError):
        texts = column.astype(object).to_numpy().copy()
        texts[column.isna().to_numpy()] = None
        return Cells(nature="text", dtype=dtype, texts=texts)
    seconds = _seconds(parsed)
    written = strftime_of(seconds)
    first = next(value for value in column if isinstance(value, str))
    if len(first) > 10 and written == "%Y-%m-%d":
        written = "%Y-%m-%d %H:%M"
    if len(first) > 16 and written == "%Y-%m-%d %H:%M":
        written = "%Y-%m-%d %H:%M:%S"
    return Cells(nature="date", dtype=dtype, numbers=seconds, format=written.replace(" ", first[10:11] or " "))


def _floats(column: Any) -> np.ndarray:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _filled(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    numbers = np.full(len(values), np.nan)
    numbers[~missing] = values[~missing].astype(np.float64)
    return numbers


def _seconds(column: Any) -> np.ndarray:
    """Seconds since 1970, float64, NaN where missing; times with a time zone are converted to UTC."""
    import pandas

    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    ticks = column.astype("datetime64[us]").astype(np.int64).to_numpy()
    seconds = ticks // _MICROSECONDS + (ticks % _MICROSECONDS) / _MICROSECONDS
    return np.where(pandas.isna(column).to_numpy(), np.nan, seconds)


def _text(value: Any) -> str:
    return (
        number_text(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else str(value)
    )
