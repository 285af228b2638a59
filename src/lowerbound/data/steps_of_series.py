"""From a table of steps to series (N, T, C): which series and which step each row is.

Series are numbered in the order in which they come first. Each begins at its own first time; T is the length of the
longest, and steps without a row are NaN, at the end of a shorter series as in a hole of its grid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lowerbound.data.cells import read_cells
from lowerbound.data.checks import check_column, check_finite
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.measured import measure
from lowerbound.data.memory import check_memory
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import LeftOut
from lowerbound.data.series_schema import SeriesSchema
from lowerbound.data.times_of_steps import on_a_scale, read_times, scaled, step_in_words
from lowerbound.data.unnamed_index import without_name

__all__ = ["Places", "in_series", "infer_series", "places_of", "seen_until"]

_OFF_GRID, _MOST_OFF_GRID = 1e-4, 0.25  # of a step; more than the first where times are rounded to float64
_MOST_HOLES = 100  # steps for each row of a series


@dataclass(frozen=True)
class Places:
    """Where the rows of a table are among series.

    Attributes:
        names: of the series, as text.
        series: of each row, a number from 0.
        step: of each row, from 0.
        starts: the time of the first step of each series, on the scale of the schema.
    """

    names: tuple[str, ...]
    series: Int[np.ndarray, "row"]
    step: Int[np.ndarray, "row"]
    starts: Float[np.ndarray, "series"]

    @property
    def longest(self) -> int:
        """T."""
        return int(self.step.max()) + 1


def infer_series(contents: Contents, overrides: Overrides) -> tuple[Contents, tuple[LeftOut, ...]]:
    """The contents of the file of a fit with series in place of steps, and the columns that are left out.

    Raises:
        DataError: no table, no such column, times that are on no grid, channels that are no numbers, or too many steps.
    """
    frame, what = contents.x, contents.what
    if isinstance(frame, np.ndarray) or not hasattr(frame, "iloc"):
        raise DataError(f"{what} is no table, and series='{clipped(str(overrides.series))}' names a column of one.")
    names = [str(name) for name in frame.columns]
    _check_names(names, names, what)
    for name in (overrides.series, overrides.time):
        check_column(name, names, what) if name is not None else None
    if overrides.series == overrides.time:
        raise DataError(f"'{clipped(str(overrides.series))}' is named as the series and as the time; name two columns.")
    overrides.check_names(names, what)
    column = str(overrides.series)
    series = SeriesSchema(column=column, dtype=str(frame.dtypes.iloc[names.index(column)]), time=overrides.time)
    if overrides.time is not None:
        times = read_times(frame.iloc[:, names.index(overrides.time)], overrides.time, what)
        _, series = scaled(times, _numbered(frame, series, what)[1], series)
    series, left_out = _with_channels(frame, series, overrides, what)
    return in_series(contents, series), left_out


def in_series(contents: Contents, series: SeriesSchema, longest: int | None = None) -> Contents:
    """The contents with series (N, T, C) in place of the steps of a table; arrays stay as they are.

    Arguments:
        contents: what a reader found.
        series: the schema of steps.
        longest: T of the fit; None takes that of the longest series.

    Raises:
        DataError: a column is missing, a step is there twice or off the grid, or a series is longer than those of the
            fit.
    """
    if isinstance(contents.x, np.ndarray) or not hasattr(contents.x, "iloc"):
        return contents
    places, what = places_of(contents.x, series, contents.what), contents.what
    if longest is not None and places.longest > longest:
        name = places.names[int(places.series[places.step.argmax()])]
        raise DataError(
            f"series '{clipped(name, 30)}' of {what} has {places.longest} steps and those of the fit {longest} at "
            "most; cut it, or fit with longer series."
        )
    shape = (len(places.names), longest or places.longest, len(series.channels))
    _check_size(shape, places, what)
    x = np.full(shape, np.nan)
    for i, name in enumerate(series.channels):
        x[places.series, places.step, i] = _channel(contents.x, name, what)
    check_finite(x, what, missing=True)
    test = None if contents.x_test is None else x[:0]
    return replace(
        contents,
        x=x,
        x_test=test,
        y=None if contents.y is None else _of_each(contents.y, places, str(contents.label), what),
        y_test=None if contents.y_test is None else contents.y_test[:0],
        series=series,
        row_names=places.names,
        starts=places.starts,
        notes=contents.notes if longest is not None else (*contents.notes, _sentence(series, places, shape)),
    )


def places_of(frame: Any, series: SeriesSchema, what: str) -> Places:
    """The series and the step of each row of a table.

    Raises:
        DataError: a column is missing or there twice, or a time is missing, twice in one series, or off the grid.
    """
    _check_names(list(map(str, frame.columns)), (series.column, series.time, *series.channels), what)
    names, codes = _numbered(frame, series, what)
    if series.time is None:
        order = np.argsort(codes, kind="stable")
        first = np.searchsorted(codes[order], np.arange(len(names)))
        step = np.empty(len(codes), dtype=np.int64)
        step[order] = np.arange(len(codes)) - first[codes[order]]
        return Places(names, codes, step, np.zeros(len(names)))
    column = _column(frame, series.time, what)
    times = on_a_scale(read_times(column, series.time, what), series, what)
    starts = np.full(len(names), np.inf)
    np.minimum.at(starts, codes, times)
    steps = (times - starts[codes]) / series.step
    rounding = float(np.spacing(np.abs(times).max())) / series.step
    off = np.flatnonzero(np.abs(steps - np.round(steps)) > min(max(_OFF_GRID, 4 * rounding), _MOST_OFF_GRID))
    if len(off):
        row = int(off[0])
        raise DataError(
            f"row {row} of {what}, '{clipped(str(column.iloc[row]), 30)}' of series "
            f"'{clipped(names[codes[row]], 30)}', is off the grid of steps of {step_in_words(series)} from the first "
            "time of the series; round the times, or leave --time out to take rows as steps."
        )
    step = np.round(steps).astype(np.int64)
    order = np.lexsort((step, codes))
    twice = np.flatnonzero((np.diff(codes[order]) == 0) & (np.diff(step[order]) == 0))
    if len(twice):
        row = int(order[twice[0] + 1])
        raise DataError(
            f"row {row} of {what} has the time '{clipped(str(column.iloc[row]), 30)}', which another row of series "
            f"'{clipped(names[codes[row]], 30)}' has too; give each step one row."
        )
    return Places(names, codes, step, starts)


def seen_until(x: Float[np.ndarray, "series step channel"]) -> Int[np.ndarray, "series"]:
    """How many steps each series has up to the last of which anything was observed."""
    seen: np.ndarray = ~np.all(np.isnan(x), axis=-1)
    return np.where(np.any(seen, axis=-1), seen.shape[1] - seen[:, ::-1].argmax(1), 0)


def _numbered(frame: Any, series: SeriesSchema, what: str) -> tuple[tuple[str, ...], Int[np.ndarray, "row"]]:
    """The names of the series in the order in which they come, and the number of the series of each row."""
    import pandas

    column = _column(frame, series.column, what)
    cells = read_cells(column)
    if pandas.api.types.is_integer_dtype(column.dtype) or cells.nature == "date":  # as written: no float64 between
        texts = column.astype("string").to_numpy(dtype=object, na_value=None)
    else:
        texts = cells.as_texts()
    codes, names = pandas.factorize(texts)
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"column '{clipped(series.column)}' of {what} names no series at row {row}; name it there.")
    return tuple(str(name) for name in names), codes.astype(np.int64)


def _check_names(names: Sequence[str], wanted: Sequence[str | None], what: str) -> None:
    """Refuse a table with two columns of one name that is wanted.

    Raises:
        DataError: giving the name.
    """
    repeated = next((name for name, count in Counter(names).items() if count > 1 and name in wanted), None)
    if repeated is not None:
        raise DataError(f"{what} has two columns named '{clipped(repeated)}'; rename one of them.")


def _column(frame: Any, name: str, what: str) -> Any:
    names = [str(column) for column in frame.columns]
    check_column(name, names, what)
    return frame.iloc[:, names.index(name)]


def _channel(frame: Any, name: str, what: str) -> Float[np.ndarray, "row"]:
    """The numbers of a channel.

    Raises:
        DataError: it is not there, or holds something else.
    """
    cells = read_cells(_column(frame, name, what))
    if cells.numbers is not None and cells.nature in ("number", "boolean"):
        return cells.numbers
    if cells.texts is not None and all(text is None for text in cells.texts.tolist()):
        return np.full(len(cells.texts), np.nan)
    raise DataError(
        f"column '{clipped(name)}' of {what} holds {cells.nature}s, and the channels of series are numbers; write it "
        f"as numbers, or leave it out with columns '{clipped(name, 30)}=drop'."
    )


def _with_channels(
    frame: Any, series: SeriesSchema, overrides: Overrides, what: str
) -> tuple[SeriesSchema, tuple[LeftOut, ...]]:
    """The schema with its channels: the other columns that vary, all of them numbers."""
    index = {} if series.column == str(frame.columns[0]) else without_name(frame, overrides)
    kept, left_out = [], list(index.values())
    for place, name in enumerate(map(str, frame.columns)):
        said = overrides.of(name)
        if name in (series.column, series.time) or name in index:
            continue
        if said not in (None, "drop", "continuous"):
            raise DataError(
                f"column '{clipped(name)}' of {what} cannot be {said}: the channels of series are numbers; say nothing "
                f"of it, or '{clipped(name, 30)}=drop'."
            )
        if said == "drop":
            left_out.append(LeftOut(name=name, reason="as asked"))
            continue
        values = _channel(frame, name, what)[:, None]
        check_finite(values, what, (name,), missing=True)
        found = measure(values)
        if np.isnan(found.low[0]):
            left_out.append(LeftOut(name=name, reason="no values"))
        elif found.low[0] == found.high[0]:
            left_out.append(LeftOut(name=name, reason=f"one value only ({found.low[0]:g})"))
        else:
            kept.append((name, str(frame.dtypes.iloc[place]), found.decimals_of(0)))
    if not kept:
        raise DataError(
            f"{what} has no column of numbers beside those of the series and the time; give one that varies."
        )
    names, dtypes, decimals = zip(*kept, strict=True)
    return replace(series, channels=names, dtypes=dtypes, decimals=decimals), tuple(left_out)


def _check_size(shape: Sequence[int], places: Places, what: str) -> None:
    """Refuse series that memory does not hold, or that are nothing but holes.

    Raises:
        DataError: saying how large they would be.
    """
    rows = int(np.bincount(places.series).max())
    if places.longest > _MOST_HOLES * rows:
        raise DataError(
            f"{what} has series of up to {places.longest:,} steps with {rows:,} rows at most: nearly all steps would "
            "be missing; give times on a coarser grid, or leave --time out to take rows as steps."
        )
    check_memory(shape, np.dtype(np.float64).itemsize, what)


def _of_each(y: np.ndarray, places: Places, label: str, what: str) -> np.ndarray:
    """The label of each series, which all of its rows have; labels that are one a series stay as they are.

    Raises:
        DataError: a series has two.
    """
    import pandas

    if len(y) != len(places.series):
        return y
    codes, values = pandas.factorize(y.astype(object))
    most, least = np.full(len(places.names), -1), np.full(len(places.names), len(values))
    np.maximum.at(most, places.series, codes)
    np.minimum.at(least, places.series[codes >= 0], codes[codes >= 0])
    several = np.flatnonzero((most >= 0) & (least < most))
    if len(several):
        raise DataError(
            f"series '{clipped(places.names[several[0]], 30)}' of {what} has several labels in '{clipped(label)}'; a "
            "series has one: leave the column out, or give each series one label."
        )
    first = np.array([np.flatnonzero(codes == k)[0] if k >= 0 else np.flatnonzero(codes < 0)[0] for k in most])
    return y[first]


def _sentence(series: SeriesSchema, places: Places, shape: Sequence[int]) -> str:
    """How the rows were ordered, and how many steps have none."""
    order = "in the order of the rows"
    if series.time is not None:
        order = f"in the order of '{clipped(series.time, 30)}', whose step is {step_in_words(series)}"
    ends = np.zeros(len(places.names), dtype=np.int64)
    np.maximum.at(ends, places.series, places.step + 1)
    holes, short = int(ends.sum()) - len(places.step), int((ends < shape[1]).sum())
    parts = [
        f"{len(places.step):,} rows are the steps of {shape[0]:,} series of '{clipped(series.column, 30)}' {order}"
    ]
    parts += [f"{holes:,} steps between them have no row and are missing"] if holes else []
    parts += [f"{short:,} series are shorter than {shape[1]:,} steps and end in missing ones"] if short else []
    return "; ".join(parts) + "."
