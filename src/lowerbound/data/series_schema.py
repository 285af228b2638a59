"""How the rows of a table are the steps of series, as it is saved with a run.

A row is one step of one series. The series is named in a column, and a time column, if there is one, says which step it
is: step t of a series is `step` · t after its first time. All series have as many steps as the longest; steps without a
row are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SeriesSchema"]


@dataclass(frozen=True, kw_only=True)
class SeriesSchema:
    """The columns of a table of steps.

    Attributes:
        column: that of the series.
        dtype: its type.
        time: the column of times, or None where the order of the rows is that of the steps.
        time_dtype: its type.
        time_format: how dates are written, as in `strftime`; None for times that are numbers.
        local: whether times are those of clocks in the time zone of `time_dtype`, whose days have 23 to 25 hours.
        months: whether times are counted in months, as dates on one day, or on the last, of each month are.
        within: seconds from the beginning of a month, of such dates; negative from its end, of dates on its last day.
        step: from a step to the next: in the units of the time column, in seconds, or in months.
        first: the first time of the series that begins earliest, where draws begin.
        channels: the columns that are the numbers of a step.
        dtypes: their types.
        decimals: the most digits after the decimal point of each, to which results are rounded; None without limit.
    """

    column: str
    dtype: str
    time: str | None = None
    time_dtype: str = "int64"
    time_format: str | None = None
    local: bool = False
    months: bool = False
    within: float = 0.0
    step: float = 1.0
    first: float = 0.0
    channels: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    decimals: tuple[int | None, ...] = ()

    def fits(self, event_shape: tuple[int, ...]) -> bool:
        """Whether rows (T, C) have its channels, each with a type and decimals, and steps take time."""
        counts = {len(self.channels), len(self.dtypes), len(self.decimals)}
        return len(event_shape) == 2 and counts == {event_shape[1]} and 0 < self.step < float("inf")
