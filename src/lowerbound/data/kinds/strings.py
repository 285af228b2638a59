"""Strings as a user gives them: a list, the lines of a file, or a column of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from lowerbound.data.contents import Given
from lowerbound.data.errors import DataError, clipped, nearest
from lowerbound.data.formats.text import is_no_text
from lowerbound.data.overrides import Overrides

__all__ = ["are_texts", "column_of_strings", "strings_of", "texts_in"]


def are_texts(x: Any) -> bool:
    """Whether these are strings in one axis."""
    if not isinstance(x, np.ndarray) or x.ndim != 1 or x.dtype.kind not in "OU" or not len(x):
        return False
    return x.dtype.kind == "U" or all(isinstance(value, str) for value in x)


def texts_in(rendered: Any) -> list[str]:
    """The strings of what `render` gives: a list, or a DataFrame of one column."""
    return rendered if isinstance(rendered, list) else rendered.iloc[:, 0].tolist()


def column_of_strings(frame: Any, overrides: Overrides, what: str, word: str) -> str:
    """The column that is said to be of that kind, or the only one that holds strings.

    Raises:
        DataError: there is no such column, or several.
    """
    if not hasattr(frame, "columns"):
        raise _no_strings(what, word)
    overrides.check_names([str(name) for name in frame.columns], what)
    said = [name for name, of in overrides.columns.items() if of == word]
    if said:
        return said[0]
    dropped = {name for name, of in overrides.columns.items() if of == "drop"}
    strings = [
        str(name) for name in frame.columns if str(name) not in dropped and frame[name].dtype.kind not in "biufmMc"
    ]
    if len(strings) != 1:
        raise DataError(
            f"{what} has {len(strings)} columns of text; say which is meant by columns={{'NAME': '{word}'}} "
            f"(--columns NAME={word})."
        )
    return strings[0]


def strings_of(given: Given, column: str | None, what: str, word: str) -> list[str]:
    """The strings themselves; a missing cell is an empty one.

    Raises:
        DataError: there is no such column, or something else than strings.
    """
    if isinstance(given, np.ndarray):
        if len(given) and not are_texts(given):
            raise _no_strings(what, word)
        return _checked(given.tolist(), what)
    names = [str(name) for name in given.columns]
    if column is None and len(names) == 1:
        column = names[0]
    if column not in names:
        near = ", ".join(f"'{clipped(name)}'" for name in nearest(column or "", names))
        raise DataError(f"{what} has no column '{clipped(column or word)}' of {word}; the nearest names: {near}.")
    cells = given.iloc[:, names.index(column)]
    return _checked(["" if missing else str(cell) for cell, missing in zip(cells, cells.isna(), strict=True)], what)


def _checked(texts: list[str], what: str) -> list[str]:
    """The texts, unless they are something else, as bytes of a picture.

    Raises:
        DataError: they hold control characters.
    """
    if is_no_text("\n".join(texts).encode(errors="replace")):
        raise DataError(f"{what} is no text (it holds control characters); give a file with one text a line.")
    return texts


def _no_strings(what: str, word: str) -> DataError:
    file = "a .smi file" if word == "molecule" else "a .txt file"
    return DataError(f"{what} holds no {word}; give a list of str, {file}, or a table with a column of {word}.")
