"""Warnings of the library as sentences on stderr, where Python would show a line of its own source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lowerbound.cli.text import say
from lowerbound.cli.words import in_words_of_command
from lowerbound.warned import LowerboundWarning

__all__ = ["own_warnings_said"]


@contextmanager
def own_warnings_said() -> Iterator[None]:
    """Inside, each warning of this library is said on stderr at once, and once; others are shown as Python does."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", LowerboundWarning)
        plain = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, LowerboundWarning):
                plain(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                say(f"Warning: {in_words_of_command(str(message))}", err=True)

        warnings.showwarning = show
        yield
