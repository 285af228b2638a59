"""A first column without a name, as pandas and R write the index of the rows; pandas reads it as "Unnamed: 0"."""

from __future__ import annotations

from typing import Any

from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import LeftOut

__all__ = ["has_no_name", "is_index", "what_it_does", "without_name"]


def has_no_name(name: str) -> bool:
    """Whether a column is called nothing, or what pandas calls one that has no name.

    >>> has_no_name("Unnamed: 0"), has_no_name(" "), has_no_name("age")
    (True, True, False)
    """
    return not name.strip() or name.startswith("Unnamed: ")


def is_index(cells: Any) -> bool:
    """Whether the cells of a column without a name are an index: whole numbers, such as those of the rows of a part of
    a table or of several below one another, or a text for each row.
    """
    return cells.dtype.kind in "iu" or bool(cells.dtype.kind not in "fb" and cells.notna().all() and cells.is_unique)


def what_it_does(cells: Any) -> str:
    """What an index does to its rows, in a word."""
    return "numbers" if cells.dtype.kind in "iu" else "names"


def without_name(frame: Any, overrides: Overrides) -> dict[str, LeftOut]:
    """By its name the first of several columns, if it is such an index and the user says nothing of it."""
    name = str(frame.columns[0]) if len(frame.columns) > 1 else "one alone"
    if not has_no_name(name) or name in overrides.columns or not is_index(frame.iloc[:, 0]):
        return {}
    return {name: LeftOut(name=name, reason=f"it has no name and {what_it_does(frame.iloc[:, 0])} the rows")}
