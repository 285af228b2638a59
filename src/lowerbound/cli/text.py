"""Text for a terminal, without control characters from names of files and users."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, most: int | None = None) -> str:
    r"""Text with control characters and escapes written as in Python, cut to a length.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    plain = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return plain if most is None or len(plain) <= most else f"{plain[: most - 3]}..."
