"""The kind of a column, inferred from its cells; what the user says about it takes precedence.

The first rule that fits decides. "Whole" refers to values, not to types: 3.0 is whole.

====================================================================  =================================================
cells                                                                 kind
====================================================================  =================================================
a first column without a name: whole numbers, or a text for each row  left out: the index of the rows
none; one value only                                                  left out
lists, bytes, durations                                               left out
booleans; numbers 0 and 1                                             boolean
a pandas categorical                                                  ordinal if it is ordered, else categorical
text, or consecutive whole numbers, different in each of ≥ 10 rows    left out: an identifier
text with at most 100 values, twice each or more on average           categorical
other text                                                            left out: free text
dates                                                                 date
whole numbers from about 0 to at most 1,000 (`measured.near_zero`)    count
other numbers                                                         continuous
====================================================================  =================================================

In a table that needs a likelihood for each column anyway, a long-tailed continuous column becomes positive: all values
are above 0, their skewness exceeds 1, and that of their logarithms is less than half of it. Whole numbers that are
plainly on a scale (`scales`), such as ratings from 1 to 5, become ordinal there, and in a table of nothing else, so
that no draw is beyond the scale. Only the user can say that other numbers are ordinal, or that numbers are categories:
values that no row of the fit has would be refused. Of a continuous column with few values (at most 30, ten rows each or
more on average) their number is kept, to be said.

Of an array, columns with one value are left out as well, unless all columns are counts or 0 and 1, among which one that
never varied is data: a gene that was not seen, a pixel that is never lit. Rows of the model get the value back.

All rows that are given are looked at once, before any are held out. Other rows of the same source get the same kinds
but where a rule has a sharp edge: a column that happens to hold one value, or no value above 1, or one 0 among positive
numbers with fractions, which `positive` could not be scored on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np

from lowerbound.data.cells import Cells, codes_as_numbers, first_no_date, is_date, read_cells
from lowerbound.data.checks import check_finite, check_numeric
from lowerbound.data.column_labels import check_column_labels
from lowerbound.data.contents import Given
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.labels import number_text
from lowerbound.data.measured import Measured, measure
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.overrides import Overrides
from lowerbound.data.recorded import usual_digits
from lowerbound.data.schema import Column, ColumnKind, LeftOut
from lowerbound.data.sparse import ARRAYS, Array
from lowerbound.data.unnamed_index import without_name

__all__ = ["infer_columns", "long_tailed", "step_for_skewness", "tails_of"]

_FEWEST_ROWS_OF_IDS, _MOST_CATEGORIES, _LARGEST_COUNT = 10, 100, 1000
_MOST_CATEGORIES_ASKED = 1000
_MOST_ROWS_FOR_SKEWNESS = 100_000
_FEW_VALUES, _ROWS_OF_A_VALUE = 30, 10
_SMALLEST = 1e-130  # of whose differences, down to the last digit, squares are normal numbers
_FEWEST_STEPS = 2**20  # of the last digit of float64 between the extremes of a column, where whole numbers lose digits


def infer_columns(
    x: Given | Array, overrides: Overrides, what: str, names: tuple[str, ...] | None = None
) -> tuple[tuple[Column, ...], tuple[LeftOut, ...]]:
    """The columns of a table that are data, and those that are left out.

    Arguments:
        x: an array (N, D) or a DataFrame.
        overrides: what the user says about columns.
        what: the name of the table in messages.
        names: of the columns of an array.

    Raises:
        DataError: a column cannot be what the user says it is, or nothing is left.
    """
    found = _of_array(x, overrides, what, names) if isinstance(x, ARRAYS) else _of_frame(x, overrides, what)
    columns = tuple(item for item in found if isinstance(item, Column))
    left_out = tuple(item for item in found if isinstance(item, LeftOut))
    if not columns:
        reasons = "; ".join(f"'{item.name[:30]}': {item.reason}" for item in left_out[:3])
        remedy = "say what a column holds with columns 'NAME=KIND'"
        if any(item.reason.startswith(("a text", "text with")) for item in left_out):
            remedy = "say kind 'text' or 'molecules' if its texts are the data"
        raise DataError(
            f"{what} has no column to learn from ({reasons or 'it is empty'}); give one that varies, or {remedy}."
        )
    return columns, left_out


def long_tailed(x: np.ndarray) -> bool:
    """Whether positive values (N,), NaN where missing, are more symmetric on the scale of their logarithms."""
    found = tails_of(x)
    return found is not None and found.values > 1 and abs(found.logarithms) < found.values / 2


class Tails(NamedTuple):
    """Skewness of positive values and of their logarithms, and how many values there are."""

    values: float
    logarithms: float
    number: int


def step_for_skewness(num_rows: int) -> int:
    """Every how many rows one is looked at; of the rows so taken, every one."""
    return max(1, num_rows // _MOST_ROWS_FOR_SKEWNESS)


def tails_of(x: np.ndarray) -> Tails | None:
    """The skewness of at most 100,000 values (N,), NaN where missing; None below three, or if one is not above 0."""
    values = x[:: step_for_skewness(len(x))].astype(np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 3 or values.min() <= 0:
        return None
    return Tails(_skewness(values), _skewness(np.log(values)), len(values))


def _skewness(x: np.ndarray) -> float:
    centred = x - x.mean()
    scale = float(np.sqrt((centred**2).mean()))
    return 0.0 if scale == 0 else float((centred**3).mean()) / scale**3


def _of_array(x: Array, overrides: Overrides, what: str, names: tuple[str, ...] | None) -> list[Column | LeftOut]:
    columns = names or tuple(str(i) for i in range(x.shape[1]))
    check_numeric(x, what)
    overrides.check_names(columns, what)
    check_finite(x, what, names, missing=True)
    measured, dtype = measure(x), str(x.dtype)
    found = [_number_column(x[:, i], name, dtype, measured, i, overrides.of(name)) for i, name in enumerate(columns)]
    discrete = all(item.kind in ("boolean", "count") and not item.missing for item in found if isinstance(item, Column))
    if discrete or len(x) == 1:  # of which the number of rows is the matter
        return found
    return [_unless_constant(item, what) if overrides.of(item.name) is None else item for item in found]


def _unless_constant(item: Column | LeftOut, what: str) -> Column | LeftOut:
    """A column of an array; left out if it has one value.

    Raises:
        DataError: it has none.
    """
    if isinstance(item, LeftOut) or item.low != item.high:
        return item
    if item.low is None:
        raise DataError(f"column '{clipped(item.name)}' of {what} holds no values; leave it out.")
    return LeftOut(name=item.name, reason=f"one value only ({item.low:g})", value=item.low)


def _of_frame(frame: Any, overrides: Overrides, what: str) -> list[Column | LeftOut]:
    check_column_labels(frame.columns, what)
    names = [str(name) for name in frame.columns]
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        raise DataError(f"{what} has two columns named '{clipped(repeated)}'; rename one of them.")
    overrides.check_names(names, what)
    index = without_name(frame, overrides)
    return [
        index.get(name) or _column(frame.iloc[:, i], name, overrides.of(name), what) for i, name in enumerate(names)
    ]


def _column(series: Any, name: str, said: str | None, what: str) -> Column | LeftOut:
    if said == "drop":
        return LeftOut(name=name, reason="as asked")
    cells = read_cells(series)
    if said in ("continuous", "positive", "count"):
        cells = codes_as_numbers(cells)
    if bool(series.isna().all()) or (cells.texts is not None and not any(cells.texts.tolist())):
        if said is not None:
            raise DataError(f"column '{clipped(name)}' of {what} cannot be {said}: it holds no values; leave it out.")
        return LeftOut(name=name, reason="no values")
    if cells.nature == "other":
        return LeftOut(name=name, reason=f"neither numbers nor text ({cells.dtype})")
    if cells.nature == "text":
        return _text_column(cells, name, said, what)
    assert cells.numbers is not None
    table = cells.numbers[:, None]
    check_finite(table, what, (name,), missing=True)
    measured = measure(table)
    if said is None and measured.low[0] == measured.high[0]:
        return LeftOut(name=name, reason=f"one value only ({cells.as_texts()[~np.isnan(cells.numbers)][0]})")
    if cells.nature == "date" and said in (None, "date", "continuous"):
        return _ranged(name, "date", cells.dtype, measured, 0, format=cells.format)
    if said is None and _is_numbering(cells.numbers, measured):
        return LeftOut(name=name, reason="consecutive numbers, one for each row")
    if cells.nature == "boolean" and said in (None, "boolean", "categorical"):
        column = _ranged(name, cast(ColumnKind, said or "boolean"), cells.dtype, measured, 0)
        return replace(column, categories=("False", "True"))
    return _number_column(cells.numbers, name, cells.dtype, measured, 0, said)


def _text_column(cells: Cells, name: str, said: str | None, what: str) -> Column | LeftOut:
    assert cells.texts is not None
    present = [text for text in cells.texts.tolist() if text is not None]
    distinct = cells.categories or tuple(sorted(set(present)))
    missing, rows = len(cells.texts) - len(present), len(cells.texts)
    if said is None and cells.categories is None:
        _refuse_strays(cells.texts, present, name, what)
        _refuse_no_dates(cells.texts, present, name, what)
    if said not in (None, "categorical", "ordinal", "boolean"):
        raise DataError(
            f"column '{clipped(name)}' of {what} cannot be {said}: it holds text such as {present[0][:40]!r}."
        )
    if said is None and len(set(present)) == 1:
        return LeftOut(name=name, reason=f"one value only ({present[0][:40]!r})")
    if said is None and cells.categories is None:
        if rows >= _FEWEST_ROWS_OF_IDS and len(distinct) == rows:
            return LeftOut(name=name, reason="a text for each row")
        if len(distinct) > _MOST_CATEGORIES or 2 * len(distinct) > len(present):
            return LeftOut(name=name, reason=f"text with {len(distinct):,} different values")
    _check_categories(distinct, said, name)
    kind = said or ("ordinal" if cells.ordered else "categorical")
    return Column(
        name=name, kind=cast(ColumnKind, kind), dtype=cells.dtype, categories=tuple(distinct), missing=missing
    )


def _refuse_strays(texts: np.ndarray, present: list[str], name: str, what: str) -> None:
    """Refuse text among numbers: it is a mistake or marks a missing value, and only the user knows which."""
    strange = [text for text in present if not _is_number(text)]
    if strange and 2 * len(strange) < len(present):
        row = texts.tolist().index(strange[0])
        raise DataError(
            f"column '{clipped(name)}' of {what} holds {strange[0][:40]!r} at row {row} among numbers; write numbers, "
            f"or nothing where one is missing, or say what it is with columns '{clipped(name, 30)}=categorical'."
        )


def _refuse_no_dates(texts: np.ndarray, present: list[str], name: str, what: str) -> None:
    """Refuse a text, or a day that no calendar has, among dates."""
    row = first_no_date(texts)
    if row is None or not present:
        return
    strange = sum(not is_date(text) for text in present)
    if 2 * strange < len(present):
        raise DataError(
            f"column '{clipped(name)}' of {what} holds {texts[row][:40]!r} at row {row} among dates, and it is none; "
            "write dates such as 2024-02-29, or nothing where one is missing, or leave the column out with columns "
            f"'{clipped(name, 30)}=drop'."
        )


def _is_number(text: str) -> bool:
    """Whether it is one, also with a decimal comma."""
    try:
        float(text.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def _number_column(
    x: np.ndarray | OnDisk, name: str, dtype: str, measured: Measured, i: int, said: str | None
) -> Column | LeftOut:
    """Column i of the measured columns, with the values x (N,)."""
    if said == "drop":
        return LeftOut(name=name, reason="as asked")
    low, high = measured.low[i], measured.high[i]
    lost = _beyond_64_bits(low, high, dtype)
    if lost is not None:
        reason, remedy = lost
        if said is not None:
            raise DataError(f"column '{clipped(name)}' cannot be {said}: {reason}; {remedy}.")
        return LeftOut(name=name, reason=reason)
    if said in ("categorical", "ordinal") or (said == "boolean" and not (measured.whole[i] and low >= 0 and high <= 1)):
        every = np.asarray(x)
        values = np.unique(every[~np.isnan(every)] if every.dtype.kind == "f" else every)
        categories = tuple(number_text(value) for value in values)
        _check_categories(categories, said, name)
        return replace(_ranged(name, cast(ColumnKind, said), dtype, measured, i), categories=categories)
    if said == "boolean" or (said is None and measured.whole[i] and low == 0 and high == 1):
        names = ("False", "True") if dtype == "bool" else ("0", "1")
        return replace(_ranged(name, "boolean", dtype, measured, i), categories=names)
    is_count = bool(measured.whole[i] and low >= 0)
    if (said == "count" and not is_count) or (said == "positive" and not low > 0) or said == "date":
        raise DataError(
            f"column '{clipped(name)}' cannot be {said}: it holds numbers from {low:g}; say that it is continuous."
        )
    small = bool(measured.near_zero[i]) and high <= _LARGEST_COUNT
    kind = said or ("count" if small else "continuous")
    column = _ranged(name, cast(ColumnKind, kind), dtype, measured, i)
    usual = None if kind == "count" else usual_digits(x, column.decimals)  # type: ignore[arg-type]  # one column
    if usual is not None:
        column = replace(column, usual_decimals=usual[0], usual_share=usual[1])
    return column if said or kind != "continuous" else replace(column, distinct=_few_values(x))


def _beyond_64_bits(low: float, high: float, dtype: str) -> tuple[str, str] | None:
    """Why numbers from low to high cannot be computed with, and what to do; None if they can."""
    size = max(abs(low), abs(high))
    if "int" in dtype.lower() and 0 < high - low < _FEWEST_STEPS * np.spacing(size):
        reason = f"whole numbers about {high:g}, whose last digits a number of 64 bits with fractions cannot hold"
        return reason, "subtract the smallest of them first"
    if 0 < size < _SMALLEST and high > low:
        return f"numbers of at most {size:g}, whose squares a number of 64 bits cannot hold", "write it in another unit"
    return None


def _few_values(x: np.ndarray | OnDisk) -> int | None:
    """How many values (N,) differ, where they are few; most columns show by their first rows that theirs are not."""
    values, number = np.empty(0), 0
    for part in (x[: _ROWS_OF_A_VALUE * _FEW_VALUES], x):
        known = np.asarray(part)
        known = known[~np.isnan(known)] if known.dtype.kind == "f" else known
        values, number = np.unique(known), len(known)
        if len(values) > _FEW_VALUES:
            return None
    enough = 1 < len(values) <= number / _ROWS_OF_A_VALUE
    return len(values) if enough else None


def _check_categories(categories: tuple[str, ...], said: str | None, name: str) -> None:
    most = 2 if said == "boolean" else _MOST_CATEGORIES_ASKED
    if len(categories) < 2 or len(categories) > most:
        raise DataError(
            f"column '{clipped(name)}' cannot be {said or 'categorical'}: it has {len(categories):,} values and needs "
            f"2 to {most:,}; leave it out with '{clipped(name)}=drop'."
        )


def _is_numbering(x: np.ndarray, measured: Measured) -> bool:
    """Whether values are consecutive whole numbers, in any order, one for each row."""
    if len(x) < _FEWEST_ROWS_OF_IDS or measured.missing[0] or not measured.whole[0]:
        return False
    return bool(measured.high[0] - measured.low[0] == len(x) - 1) and len(np.unique(x)) == len(x)


def _ranged(name: str, kind: ColumnKind, dtype: str, measured: Measured, i: int, format: str | None = None) -> Column:
    return Column(
        name=name,
        kind=kind,
        dtype=dtype,
        decimals=measured.decimals_of(i),
        format=format,
        low=_plain(measured.low[i]),
        high=_plain(measured.high[i]),
        missing=int(measured.missing[i]),
    )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
