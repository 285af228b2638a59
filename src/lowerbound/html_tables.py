"""Small tables for notebooks: plain HTML in which every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["html_table"]

_MOST_ROWS, _LONGEST = 40, 300


def html_table(title: str, rows: Sequence[Sequence[object]]) -> str:
    """A table with a title above; the first cell of a row is its heading, long texts and long tables are cut.

    >>> html_table("a < b", [("bound", -3)])
    '<table><caption>a &lt; b</caption><tr><th>bound</th><td>-3</td></tr></table>'
    """
    lines = []
    for first, *others in rows[:_MOST_ROWS]:
        cells = "".join(f"<td>{_cut(cell)}</td>" for cell in others)
        lines.append(f"<tr><th>{_cut(first)}</th>{cells}</tr>")
    if len(rows) > _MOST_ROWS:
        lines.append(f"<tr><th>… {len(rows) - _MOST_ROWS:,} more</th></tr>")
    return f"<table><caption>{_cut(title)}</caption>{''.join(lines)}</table>"


def _cut(value: object) -> str:
    text = str(value)
    return escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
