"""Ctrl-C that loses nothing.

While a run trains, the first SIGINT, SIGTERM or SIGHUP (of a terminal that is closed) is a request: the loop comes to
the end of its logging interval, saves and stops. A second one stops at once; the last checkpoint is whole, because
checkpoints are replaced in one step. Signals within half a second of the first count as one request: launchers
such as `torchrun` pass on a Ctrl-C that the terminal has already sent to every process. A signal that is ignored
when the run begins, as SIGHUP under `nohup`, stays ignored.
"""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["GracefulInterrupt"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_REQUEST = 0.5


class GracefulInterrupt:
    """A context in which a first interruption only sets `requested`; for the main thread.

    Attributes:
        requested: whether somebody wants to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._requested_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulInterrupt:
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested and now - self._requested_at > _SAME_REQUEST:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._requested_at = True, now
