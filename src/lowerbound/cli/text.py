"""Text for a terminal, without control characters from names of files and users."""

from __future__ import annotations

import unicodedata

import click

__all__ = ["printable", "say"]

_JOINERS = "\u200c\u200d"  # of scripts and of emoji


def say(text: str, *, err: bool = False) -> None:
    """Print text that may hold names, or what a model of text writes; a terminal gets none of its escapes."""
    click.echo(printable(text), err=err)


def printable(text: str, most: int | None = None) -> str:
    r"""Text with control characters and escapes written as in Python, cut to a length.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    plain = "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in text)
    return plain if most is None or len(plain) <= most else f"{plain[: most - 3]}..."


def _is_shown(c: str) -> bool:
    return c.isprintable() or c == "\n" or c in _JOINERS or unicodedata.category(c) == "Zs"
