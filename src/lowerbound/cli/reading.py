"""How far the reading of large files is."""

from __future__ import annotations

import time

from lowerbound.cli.text import say

__all__ = ["PassProgress"]

_SECONDS_TO_BEGIN, _SECONDS = 5, 20


class PassProgress:
    """Lines on stderr while data are read: the first after five seconds of a pass, others after each twenty."""

    def __init__(self):
        self._name, self._done = "", 0
        self._due = 0.0

    def __call__(self, name: str, done: int, total: int) -> None:
        """Say how far a pass over `name` has come, if it is time to."""
        now = time.monotonic()
        if name != self._name or done < self._done:  # another pass
            self._due = now + _SECONDS_TO_BEGIN
        self._name, self._done = name, done
        if now >= self._due and done < total:
            self._due = now + _SECONDS
            say(f"Reading {name}: {done / total:.0%}", err=True)
