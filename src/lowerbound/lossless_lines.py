"""Lines of text and of molecules as they were written, where rows of symbols do not say it.

A row of symbols says the tokens of a line that the model knows. Lines with other spaces between them, unknown words or
another spelling of a molecule, and lines that the model does not take (empty ones, long ones) are held as they are.
"""

from __future__ import annotations

from typing import Any

from lowerbound.data.assemble import Rows
from lowerbound.data.kinds.strings import strings_of, texts_in
from lowerbound.data.schema import Schema

__all__ = ["Lines", "given_lines", "lines_beside", "lines_of", "with_lines"]

Lines = dict[str, Any]
"""How many lines there are, the places of those that are no row, and by their places those that are held as they were
written; plain values."""


def given_lines(own: Any, schema: Schema) -> list[str] | None:
    """The lines of the user's own text; None of rows of numbers, and of other data."""
    if not schema.is_written or own is None or (not hasattr(own, "columns") and own.dtype.kind not in "OU"):
        return None
    part = schema.text if schema.text is not None else schema.molecules
    return strings_of(own, None if part is None else part.column, "the data", "text")


def lines_beside(lines: list[str], rows: Rows, rendered: Any) -> Lines:
    """What is held beside coded rows.

    Arguments:
        lines: all that the user gave.
        rows: those that are coded.
        rendered: the same, as the model writes them.
    """
    places = list(range(len(lines))) if rows.numbers is None else rows.numbers.tolist()
    written = dict(zip(places, texts_in(rendered), strict=True))
    held = {str(i): line for i, line in enumerate(lines) if written.get(i) != line}
    return {"number": len(lines), "no_rows": sorted(set(range(len(lines))) - set(places)), "held": held}


def lines_of(rendered: list[str], beside: Lines) -> list[str]:
    """The lines of the user, from those of the model.

    Raises:
        ValueError, KeyError, TypeError: what is beside them is of other lines.
    """
    held, no_rows = {int(i): line for i, line in beside["held"].items()}, set(beside["no_rows"])
    if len(rendered) + len(no_rows) != beside["number"] or not no_rows <= held.keys():
        raise ValueError("lines of other rows")
    written, found = iter(rendered), []
    for i in range(beside["number"]):
        line = None if i in no_rows else next(written)
        found.append(held.get(i, line))
    if not all(isinstance(line, str) for line in found):
        raise TypeError("lines that are no text")
    return found


def with_lines(rendered: Any, lines: list[str]) -> Any:
    """The same as what `render` gave, with these lines: a list, or a DataFrame of one column."""
    return lines if isinstance(rendered, list) else type(rendered)({rendered.columns[0]: lines})
