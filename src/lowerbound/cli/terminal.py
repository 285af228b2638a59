"""One console for everything that is printed on stdout."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console

from lowerbound.cli.text import printable

__all__ = ["SafeConsole", "open_console"]

_WIDTH_OF_A_FILE = 120


class SafeConsole(Console):
    """A console that prints sentences without markup or control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print text without control characters, or an object of rich."""
        safe = [printable(item) if isinstance(item, str) else item for item in objects]
        super().print(*safe, **{"markup": False, **options})

    def on_broken_pipe(self) -> None:
        """If the reader of the output has closed the pipe, continue without output."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_console() -> Console:
    """A console as wide as the terminal, or 120 columns without one; sentences are not wrapped."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return SafeConsole(highlight=False, soft_wrap=True, width=width, emoji=False, markup=False)
