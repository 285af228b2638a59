"""The time column of a table of steps: times as numbers, and the grid on which they lie.

Dates are seconds since 1970, or months since then where all fall on one day of their month and at one time of it, or
all on its last day, a month or more apart. Times in a time zone are those of its clocks, where all are at one time of
the day and days or months apart: a day of 23 or 25 hours is one step. Other times are the numbers that they are. Step
t of a series is at its first time + step · t, where step is the most usual difference between one time of a series and
the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lowerbound.data.cells import read_cells
from lowerbound.data.dates import unit_of_durations
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.series_schema import SeriesSchema
from lowerbound.data.wall_clock import on_wall_clock, zone_of

__all__ = ["Times", "on_a_scale", "read_times", "scaled", "seconds_of_months", "step_in_words", "usual_step"]

_DAY = 86400.0
_SHORTEST_MONTH = 28 * _DAY
_DIGITS = 9  # to which differences of times are the same, where their rounding allows it


class Times(NamedTuple):
    """Times of rows (N,), seconds of dates, and how they were written; no format for numbers."""

    numbers: Float[np.ndarray, "row"]
    dtype: str
    format: str | None


def read_times(column: Any, name: str, what: str) -> Times:
    """The times of a column.

    Raises:
        DataError: it holds something else than numbers or dates, or a time is missing.
    """
    cells = read_cells(column)
    if cells.nature not in ("number", "date") or cells.numbers is None:
        raise DataError(
            f"column '{clipped(name)}' of {what} holds {cells.nature}s and times are numbers, or dates such as "
            "2024-02-29; write them so, or leave --time out if the rows of each series are in order."
        )
    gone = np.flatnonzero(~np.isfinite(cells.numbers))
    if len(gone):
        raise DataError(f"column '{clipped(name)}' of {what} has no time at row {gone[0]}; fill it, or leave rows out.")
    return Times(cells.numbers, cells.dtype, cells.format)


def on_a_scale(times: Times, series: SeriesSchema, what: str) -> Float[np.ndarray, "row"]:
    """Times as numbers of the scale of a schema.

    Raises:
        DataError: numbers where the schema has dates, or a date on another day of its month.
    """
    if (times.format is None) != (series.time_format is None):
        found, expected = ("numbers", "dates") if times.format is None else ("dates", "numbers")
        raise DataError(
            f"column '{clipped(str(series.time))}' of {what} holds {found}; expected {expected}, as in training."
        )
    zone, numbers = zone_of(series.time_dtype), times.numbers
    if series.local and zone is not None and zone_of(times.dtype) is not None:
        numbers = on_wall_clock(numbers, zone)
    if not series.months:
        return numbers
    months, within = _months(numbers, ends=series.within < 0)
    other = np.flatnonzero(within != series.within)
    if len(other):
        raise DataError(
            f"column '{clipped(str(series.time))}' of {what} holds a date at row {other[0]} that is on another day of "
            "its month than those of the fit; write all on one day."
        )
    return months


def scaled(times: Times, codes: Int[np.ndarray, "row"], series: SeriesSchema) -> tuple[np.ndarray, SeriesSchema]:
    """Times as numbers of the scale that suits them, and the schema with that scale and its step."""
    series = replace(series, time_dtype=times.dtype, time_format=times.format)
    numbers, local = _by_clock(times, codes)
    step, series = usual_step(numbers, codes), replace(series, local=local)
    if times.format is not None and step is not None and step >= _SHORTEST_MONTH:
        for ends in (False, True):
            months, within = _months(numbers, ends=ends)
            if bool((within == within[0]).all()) and within[0] >= -_DAY:
                numbers, step = months, usual_step(months, codes)
                series = replace(series, months=True, within=float(within[0]))
                break
    return numbers, replace(series, step=1.0 if step is None else step, first=float(numbers.min()))


def _by_clock(times: Times, codes: Int[np.ndarray, "row"]) -> tuple[Float[np.ndarray, "row"], bool]:
    """Times by the clocks of their zone, where all are at one time of the day and days apart; and whether they are."""
    zone = zone_of(times.dtype)
    if zone is None:
        return times.numbers, False
    local = on_wall_clock(times.numbers, zone)
    step = usual_step(local, codes)
    daily = step is not None and step % _DAY == 0 and bool((local % _DAY == local[0] % _DAY).all())
    return (local, True) if daily else (times.numbers, False)


def usual_step(numbers: Float[np.ndarray, "row"], codes: Int[np.ndarray, "row"]) -> float | None:
    """The most usual difference between a time of a series and the next, the smallest of several; None without any.

    >>> usual_step(np.array([0.0, 1.0, 2.0, 4.0, 7.0]), np.array([0, 0, 0, 0, 1]))
    1.0
    """
    order = np.lexsort((numbers, codes))
    differences = np.diff(numbers[order])[np.diff(codes[order]) == 0]
    differences = differences[differences > 0]
    if not len(differences):
        return None
    unit, spacing = float(np.median(differences)), float(np.spacing(np.abs(numbers).max()))
    digits = int(np.clip(-np.log10(4 * spacing / unit), 0, _DIGITS))
    _, classes, counts = np.unique(np.round(differences / unit, digits), return_inverse=True, return_counts=True)
    usual = float(differences[classes.reshape(-1) == counts.argmax()].mean())
    written = (float(f"{usual:.{figures}g}") for figures in range(1, 17))
    return next((step for step in written if abs(step - usual) <= 4 * spacing / counts.max()), usual)


def seconds_of_months(months: Float[np.ndarray, "*time"], within: float) -> Float[np.ndarray, "*time"]:
    """Seconds since 1970 of a moment in each month, `within` seconds after it begins, or −`within` before it ends.

    >>> seconds_of_months(np.array([0.0, 1.0]), 86400.0).tolist()
    [86400.0, 2764800.0]
    """
    begun = (np.round(months).astype(np.int64) + (within < 0)).astype("datetime64[M]")
    return begun.astype("datetime64[s]").astype(np.int64) + within


def step_in_words(series: SeriesSchema) -> str:
    """A step with its unit."""
    if series.months:
        return "1 month" if series.step == 1 else f"{series.step:g} months"
    if series.time_format is None:
        return f"{series.step:g}"
    unit, size = unit_of_durations(2 * series.step)
    number = series.step / size
    return f"{number:g} {unit.removesuffix('s') if number == 1 else unit}"


def _months(
    seconds: Float[np.ndarray, "row"], *, ends: bool
) -> tuple[Float[np.ndarray, "row"], Float[np.ndarray, "row"]]:
    """Months since January 1970, and seconds from the beginning of the month, or (negative) from its end."""
    months = np.floor(seconds).astype(np.int64).astype("datetime64[s]").astype("datetime64[M]")
    bound = (months + int(ends)).astype("datetime64[s]").astype(np.int64)
    return months.astype(np.int64).astype(np.float64), seconds - bound
