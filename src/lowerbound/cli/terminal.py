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
    """A console that prints sentences as they are: no markup, and names from files move no cursor."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print text made printable, or what rich draws."""
        safe = [printable(item) if isinstance(item, str) else item for item in objects]
        super().print(*safe, **{"markup": False, **options})

    def on_broken_pipe(self) -> None:
        """Whoever read our output has seen enough: what is being done is finished without it."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_console() -> Console:
    """As wide as the terminal; 120 columns where there is none, with no wrapping of sentences in either."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return SafeConsole(highlight=False, soft_wrap=True, width=width, emoji=False)
