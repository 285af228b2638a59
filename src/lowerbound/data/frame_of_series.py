"""From series (N, T, C) back to a table of steps with the user's columns: the series, the time, the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lowerbound.data.rows_of_columns import frame_of_rows
from lowerbound.data.schema import Column, Schema
from lowerbound.data.series_schema import SeriesSchema
from lowerbound.data.times_of_steps import seconds_of_months
from lowerbound.data.wall_clock import from_wall_clock, zone_of

__all__ = ["channels_of", "frame_of_series", "named_series"]

_FIRST_DRAW = 1


def frame_of_series(
    x: Float[np.ndarray, "series step value"],
    schema: Schema,
    *,
    names: Sequence[str] | None = None,
    starts: Float[np.ndarray, "series"] | None = None,
    lengths: Int[np.ndarray, "series"] | None = None,
    offsets: Int[np.ndarray, "series"] | None = None,
    columns: Sequence[Column] | None = None,
) -> Any:
    """A DataFrame with a row for each step.

    Arguments:
        x: stored numbers of each step, in the units of the user's columns.
        schema: of the fit.
        names: of the series; None numbers them from 1.
        starts: the first time of each, on the scale of the schema; None for the first of the fit.
        lengths: how many steps of each are written; None for all.
        offsets: the number of the first of these steps in its series; None for 0.
        columns: of the numbers of a step; None for the channels of the schema.
    """
    series = schema.series
    assert series is not None
    count, steps = x.shape[:2]
    written = np.arange(steps) < (np.full(count, steps) if lengths is None else lengths)[:, None]
    step = np.arange(steps) + (np.zeros(count, dtype=np.int64) if offsets is None else offsets)[:, None]
    first = np.full(count, series.first) if starts is None else starts
    values = x[written]
    shown = channels_of(series) if columns is None else tuple(columns)
    if series.time is not None:
        times = (first[:, None] + series.step * step)[written]
        seconds = seconds_of_months(times, series.within) if series.months else times
        zone = zone_of(series.time_dtype)
        seconds = from_wall_clock(seconds, zone) if series.local and zone is not None else seconds
        values = np.concatenate([seconds[:, None], values], 1)
        shown = (_time_of(series), *shown)
    table = Schema(kind="table", event_shape=(len(shown),), container=schema.container, columns=shown)
    frame = frame_of_rows(values, table)
    which = np.broadcast_to(np.arange(count)[:, None], written.shape)[written]
    frame.insert(0, series.column, _ids(which, names, series))
    return frame


def named_series(names: Sequence[str], series: SeriesSchema) -> Any:
    """The names of series in the type of the user's column."""
    return _ids(np.arange(len(names)), names, series)


def channels_of(series: SeriesSchema) -> tuple[Column, ...]:
    """The channels as columns of a table."""
    whole = [dtype.lower().startswith(("int", "uint", "float")) for dtype in series.dtypes]
    dtypes = [dtype if known else "float64" for dtype, known in zip(series.dtypes, whole, strict=True)]
    return tuple(
        Column(name=name, kind="continuous", dtype=dtype, decimals=digits)
        for name, dtype, digits in zip(series.channels, dtypes, series.decimals, strict=True)
    )


def _time_of(series: SeriesSchema) -> Column:
    """The times as a column of a table."""
    assert series.time is not None
    if series.time_format is not None:
        return Column(name=series.time, kind="date", dtype=series.time_dtype, format=series.time_format)
    whole = float(series.step).is_integer() and series.time_dtype.lower().startswith(("int", "uint"))
    dtype = series.time_dtype if whole else "float64"
    return Column(name=series.time, kind="continuous", dtype=dtype, decimals=0 if whole else _decimals(series.step))


def _decimals(step: float) -> int:
    """To which times on a grid are rounded: nine, and six beyond the first digit of a smaller step."""
    return max(9, 6 - math.floor(math.log10(step)))


def _ids(which: np.ndarray, names: Sequence[str] | None, series: SeriesSchema) -> Any:
    """Names of series, as whole numbers where the user's are, or numbers from 1."""
    if names is None:
        return which + _FIRST_DRAW
    whole = all(name.removeprefix("-").isdecimal() for name in names)
    if whole and series.dtype.lower().startswith(("int", "uint")):
        return np.array([int(name) for name in names])[which]
    return np.array(names, dtype=object)[which]
