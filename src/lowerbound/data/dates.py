"""Seconds since 1970 in words: dates as they are written, and durations in a unit that suits them."""

from __future__ import annotations

from datetime import datetime, timedelta

__all__ = ["date_in_words", "unit_of_durations"]

_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0))
_FEWEST_UNITS = 2


def date_in_words(seconds: float, format: str) -> str:
    """A date in a format of `strftime`; "" beyond the years 1 to 9999.

    >>> date_in_words(86400.0, "%Y-%m-%d")
    '1970-01-02'
    """
    try:
        return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).strftime(format)
    except (OverflowError, ValueError):
        return ""


def unit_of_durations(span: float) -> tuple[str, float]:
    """The largest unit, and how many seconds it has, of which there are two in a span (seconds).

    >>> unit_of_durations(40 * 86400.0), unit_of_durations(1020.0)
    (('days', 86400.0), ('minutes', 60.0))
    """
    return next(((name, size) for name, size in _UNITS if span >= _FEWEST_UNITS * size), ("seconds", 1.0))
