"""Lines of text and of molecules as they were written, where rows of symbols do not say it.

A row of symbols says the tokens of a line that the model knows. Unknown words stand beside the row. Lines with other
spaces, another spelling of a molecule, and lines that the model does not take (empty or long ones) are held whole.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lowerbound.data.assemble import Rows
from lowerbound.data.kinds.strings import strings_of, texts_in
from lowerbound.data.schema import Schema
from lowerbound.data.tokens import UNKNOWN

__all__ = ["Lines", "given_lines", "lines_beside", "lines_of", "text_of", "with_lines"]

Lines = dict[str, Any]
"""How many lines there are, the spaces before and after most of them, the places of those that are no row, unknown
words by their line, by their places the lines that are held as they were written, and what stands in their file before
and after all of them; plain values."""


def given_lines(own: Any, schema: Schema) -> list[str] | None:
    """The lines of the user's own text; None of rows of numbers, and of other data."""
    if schema.is_written and isinstance(own, list | tuple) and all(isinstance(line, str) for line in own):
        return list(own)
    if not schema.is_written or not (
        hasattr(own, "columns") or (isinstance(own, np.ndarray) and own.dtype.kind in "OU")
    ):
        return None
    given: Any = own
    part = schema.text if schema.text is not None else schema.molecules
    return strings_of(given, None if part is None else part.column, "the data", "text")


def lines_beside(lines: list[str], rows: Rows, rendered: Any, around: tuple[str, str]) -> Lines:
    """What is held beside coded rows.

    Arguments:
        lines: all that the user gave.
        rows: those that are coded.
        rendered: the same, as the model writes them.
        around: see `around_lines`.
    """
    places = list(range(len(lines))) if rows.numbers is None else rows.numbers.tolist()
    text = rows.schema.text
    unknown = text.symbols[UNKNOWN] if text is not None and text.tokens == "word" else None
    before, after = Counter(map(_edges, lines)).most_common(1)[0][0]
    written, words, held = dict(zip(places, texts_in(rendered), strict=True)), {}, {}
    for i, line in enumerate(lines):
        found = None if i not in written else _unknown_words(line, before + written[i] + after, unknown)
        if found is None:
            held[str(i)] = line
        elif found:
            words[str(i)] = found
    no_rows = sorted(set(range(len(lines))) - set(places))
    return {"number": len(lines), "edges": [before, after], "unknown": unknown, "no_rows": no_rows,
            "words": words, "held": held, "around": list(around)}  # fmt: skip


def lines_of(rendered: list[str], beside: Lines) -> list[str]:
    """The lines of the user, from those of the model.

    Raises:
        ValueError, KeyError, TypeError: what is beside them is of other lines.
    """
    held, no_rows = {int(i): line for i, line in beside["held"].items()}, set(beside["no_rows"])
    words, unknown, (before, after) = beside["words"], beside["unknown"], beside["edges"]
    if len(rendered) + len(no_rows) != beside["number"] or not no_rows <= held.keys():
        raise ValueError("lines of other rows")
    written, found = iter(rendered), []
    for i in range(beside["number"]):
        line = None if i in no_rows else before + next(written) + after
        if line is not None and str(i) in words:
            known = iter(words[str(i)])
            line = " ".join(next(known, word) if word == unknown else word for word in line.split(" "))
        found.append(held.get(i, line))
    if not all(isinstance(line, str) for line in found):
        raise TypeError("lines that are no text")
    return found


def text_of(lines: list[str], beside: Lines) -> str:
    """The file that the lines were read from; of files that say nothing around their lines, each with its end.

    Raises:
        ValueError, TypeError: what is around them is no text.
    """
    before, after = beside.get("around", ["", "\n"])
    return before + "\n".join(lines) + after


def _edges(line: str) -> tuple[str, str]:
    """The spaces before and after."""
    start = len(line) - len(line.lstrip())
    return line[:start], line[len(line.rstrip()) :] if start < len(line) else ""


def _unknown_words(line: str, written: str, unknown: str | None) -> list[str] | None:
    """The words that are unknown in what is written, where that is all that differs; None where more does."""
    own, theirs = line.split(" "), written.split(" ")
    if len(own) != len(theirs) or any(a != b != unknown for a, b in zip(own, theirs, strict=True)):
        return None
    return [a for a, b in zip(own, theirs, strict=True) if b == unknown] if own != theirs else []


def with_lines(rendered: Any, lines: list[str]) -> Any:
    """The same as what `render` gave, with these lines: a list, or a DataFrame of one column."""
    return lines if isinstance(rendered, list) else type(rendered)({rendered.columns[0]: lines})
