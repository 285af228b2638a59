"""How far the reading of large files is."""

from __future__ import annotations

import math
import time

from lowerbound.cli.text import say

__all__ = ["PassProgress"]

_SECONDS_TO_BEGIN, _SECONDS = 5, 20


class PassProgress:
    """Lines on stderr while data are read: the first after five seconds, others after each twenty.

    A pass that begins within five seconds of another goes on from it, as a folder of many small files is read.
    """

    def __init__(self):
        self._name, self._done, self._total = "", 0, 0
        self._due, self._last = 0.0, -math.inf

    def __call__(self, name: str, done: int, total: int) -> None:
        """Say how far a pass over `name` has come, if it is time to."""
        now = time.monotonic()
        is_another = (name, total) != (self._name, self._total) or done <= self._done
        if is_another and now > self._last + _SECONDS_TO_BEGIN:
            self._due = now + _SECONDS_TO_BEGIN
        self._name, self._done, self._total, self._last = name, done, total, now
        if now >= self._due and done < total:
            self._due = now + _SECONDS
            say(f"Reading {name}: {done / total:.0%}", err=True)
