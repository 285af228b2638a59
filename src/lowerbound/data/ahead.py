"""Batches that a thread reads while steps are taken, so that a step seldom waits for the disk.

The thread gathers the batches after the last one that was asked for, a few at most, and tells the source which units
the next window needs. Which rows a batch holds depends on its step alone, as without the thread.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from lowerbound.data.numbered import Numbered
from lowerbound.data.source import Source

__all__ = ["ReadAhead", "ReadsAhead"]

_DEPTH = 4
_POLL = 0.05  # seconds after which a thread that waits for room looks whether it is still wanted


@runtime_checkable
class ReadsAhead(Source, Protocol):
    """A source from which a thread may gather, and that can begin to read what is needed next."""

    def read_ahead(self, now: np.ndarray, then: np.ndarray) -> None:
        """Begin to read the units of these rows, those that are needed now first."""
        ...

    def stop_reading(self, thread: threading.Thread) -> None:
        """Leave out what `read_ahead` asked for and was not begun, and let this thread read no more."""
        ...


class ReadAhead(Numbered):
    """The same batches as `Numbered`, read ahead."""

    _reader: _Reader | None = None
    _current: tuple[int, tuple[Tensor, ...]] | None = None
    _waited = 0.0

    @property
    def waited(self) -> float:
        """Seconds that steps have waited for rows."""
        return self._waited

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """See `Feed`."""
        if self._current is not None and self._current[0] == step:
            return self._current[1]
        began = time.monotonic()
        if self._reader is None or self._reader.next != step:
            self.close()
            self._reader = _Reader(self, step)
        batch = self._reader.take()
        self._waited += time.monotonic() - began
        self._current = step, batch
        return batch

    def gathered(self, step: int) -> tuple[Tensor, ...]:
        """The batch of a step, read now; then reading of its window and of that after it begins."""
        batch = super().batch(step)
        windows = self.mine.windows_at(step)
        if windows is not None and isinstance(self.source, ReadsAhead):
            self.source.read_ahead(*windows)
        return batch

    def take_order(self, order: int) -> None:
        """See `Numbered`."""
        self.close()
        super().take_order(order)

    def close(self) -> None:
        """See `Numbered`."""
        if self._reader is not None:
            self._reader.stop()
        self._reader = self._current = None


class _Reader:
    """A thread that gathers the batches from a step on."""

    def __init__(self, feed: ReadAhead, step: int):
        self.next, self._source = step, feed.source
        self._queue: queue.Queue[tuple[Tensor, ...] | BaseException] = queue.Queue(_DEPTH)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(feed, step), name="lowerbound-reader", daemon=True)
        self._thread.start()

    def take(self) -> tuple[Tensor, ...]:
        """The next batch; an error of the thread is raised here."""
        found = self._queue.get()
        if isinstance(found, BaseException):
            raise found
        self.next += 1
        return found

    def stop(self) -> None:
        """End the thread, and wait for it, but not for what it has asked for."""
        self._stopped.set()
        if isinstance(self._source, ReadsAhead):
            self._source.stop_reading(self._thread)
        self._thread.join()

    def _run(self, feed: ReadAhead, step: int) -> None:
        try:
            while not self._stopped.is_set():
                self._put(feed.gathered(step))
                step += 1
        except BaseException as error:  # it is raised where the batch is asked for
            self._put(error)

    def _put(self, item: tuple[Tensor, ...] | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
                return
            except queue.Full:
                continue
