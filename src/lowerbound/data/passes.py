"""Who is told how far a pass over files has come.

To read a file larger than memory takes minutes, deep within whatever asked for its rows. The command says whom to tell
(`telling`); a pass says where it is (`passed`), and where nobody listens, as in plain Python, nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["passed", "telling"]

Listener = Callable[[str, int, int], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("lowerbound_passes", default=None)


@contextmanager
def telling(listener: Listener) -> Iterator[None]:
    """Tell a listener of all passes within this block, and within this thread.

    Arguments:
        listener: called with a name, how much is done, and how much there is, in whatever unit the pass counts.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def passed(name: str, done: int, total: int) -> None:
    """Tell the listener, if there is one, how far a pass over `name` has come."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(name, done, total)
