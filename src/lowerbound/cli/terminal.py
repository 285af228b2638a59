"""One console for everything that is printed on stdout."""

from __future__ import annotations

import sys

from rich.console import Console

__all__ = ["open_console"]

_WIDTH_OF_A_FILE = 120


def open_console() -> Console:
    """As wide as the terminal; 120 columns where there is none, with no wrapping of sentences in either."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return Console(highlight=False, soft_wrap=True, width=width)
