"""Text that a spreadsheet would take for a formula when it opens a .csv file.

Such text comes from the user's own columns and categories. It is written as it is, so that the file can be read back by
name, and it is said.
"""

from __future__ import annotations

from collections.abc import Iterable

from lowerbound.cli.text import printable, say

__all__ = ["tell_formulas"]

_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def tell_formulas(path: object, cells: Iterable[object]) -> None:
    """Say on stderr that a file holds text that begins as a formula does, if one of its names and cells does."""
    found = next((cell for cell in cells if isinstance(cell, str) and _is_formula(cell)), None)
    if found is not None:
        shown, name = printable(found, 40), printable(str(path), 120)
        say(f"Note: {name} holds text that a spreadsheet takes for a formula ({shown!r}); import it as text.", err=True)


def _is_formula(text: str) -> bool:
    """Whether text begins as a formula does, and is no number."""
    if not text.startswith(_BEGINS):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
