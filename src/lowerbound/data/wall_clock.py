"""Times in a time zone as its clocks show them, and back: a day there has 23 or 25 hours twice a year.

Both are seconds since 1970, of a clock in UTC and of one on a wall, as if there were no time zone.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["from_wall_clock", "on_wall_clock", "zone_of"]

_MICROSECONDS = 1_000_000


def zone_of(dtype: str) -> str | None:
    """The time zone in the type of a column of pandas, or None.

    >>> zone_of("datetime64[ns, Europe/Berlin]"), zone_of("datetime64[ns]")
    ('Europe/Berlin', None)
    """
    return dtype.partition(", ")[2].rstrip("]") or None if dtype.startswith("datetime64") else None


def on_wall_clock(seconds: Float[np.ndarray, "*time"], zone: str) -> Float[np.ndarray, "*time"]:
    """From UTC to what a clock in the zone shows.

    >>> (on_wall_clock(np.array([1711839600.0, 1711922400.0]), "Europe/Berlin") / 3600 % 24).tolist()
    [0.0, 0.0]
    """
    import pandas

    moments = pandas.Series(_moments(seconds)).dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    return _seconds(moments, seconds)


def from_wall_clock(seconds: Float[np.ndarray, "*time"], zone: str) -> Float[np.ndarray, "*time"]:
    """From what a clock in the zone shows to UTC: the first moment of two, and the next one for none."""
    import pandas

    first = np.ones(seconds.size, dtype=bool)
    local = pandas.Series(_moments(seconds)).dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return _seconds(local.dt.tz_convert("UTC").dt.tz_localize(None), seconds)


def _moments(seconds: np.ndarray) -> np.ndarray:
    return np.round(seconds.reshape(-1) * _MICROSECONDS).astype(np.int64).astype("datetime64[us]")


def _seconds(moments: object, like: np.ndarray) -> np.ndarray:
    found = np.asarray(moments, dtype="datetime64[us]").astype(np.int64) / _MICROSECONDS
    return found.reshape(like.shape)
