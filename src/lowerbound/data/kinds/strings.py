"""Strings as a user gives them: a list, the lines of a file, or a column of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool

from lowerbound.data.blocks import row_blocks
from lowerbound.data.checks import check_features
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped, nearest
from lowerbound.data.lines import Lines, is_no_text
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.overrides import Overrides
from lowerbound.data.remembered import remembered
from lowerbound.data.schema import LeftOut, Schema
from lowerbound.data.sparse import Array
from lowerbound.data.split import num_held_out, split_rows
from lowerbound.data.transform import Identity
from lowerbound.support import LikelihoodFacts

__all__ = [
    "are_texts",
    "as_they_came",
    "column_of_strings",
    "keep_rows",
    "left_out",
    "other_columns",
    "rows_of_symbols",
    "strings_of",
    "texts_in",
    "training_part",
    "training_rows",
    "untransformed",
]

_Record = TypeVar("_Record")
_SHOWN = 3
_AT_ONCE = 2**22  # bytes of rows that are looked at together
_WITH_COLUMNS = ("csv", "parquet", "frame")


def are_texts(x: Any) -> bool:
    """Whether these are strings in one axis."""
    if isinstance(x, Lines):
        return True
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


def strings_of(given: Any, column: str | None, what: str, word: str) -> list[str]:
    """The strings themselves, in memory; a missing cell is an empty one.

    Raises:
        DataError: there is no such column, or something else than strings.
    """
    if isinstance(given, Lines):
        return list(given)
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


def other_columns(contents: Contents, column: str | None, reason: str) -> tuple[LeftOut, ...]:
    """The columns of a table beside that of the strings."""
    if column is None or isinstance(contents.x, np.ndarray):
        return ()
    return tuple(LeftOut(name=str(name), reason=reason) for name in contents.x.columns if str(name) != column)


def training_part(kept: list[_Record], contents: Contents) -> list[_Record]:
    """Those of the usable records that will be trained on, from which a vocabulary may be made."""
    if contents.x_test is not None:
        return kept
    return [kept[i] for i in split_rows(len(kept), num_held_out(len(kept)))[0]]


def training_rows(kept: Bool[np.ndarray, "row"], contents: Contents) -> Bool[np.ndarray, "row"]:
    """Which of all records are usable and will be trained on."""
    if contents.x_test is not None:
        return kept
    usable, found = np.flatnonzero(kept), np.zeros_like(kept)
    found[usable[split_rows(len(usable), num_held_out(len(usable)))[0]]] = True
    return found


def rows_of_symbols(given: Any, schema: Schema, num_symbols: int, what: str, word: str) -> Array | None:
    """Rows (N, T) that are the numbers of symbols already, int32, on disk if they are there; None for strings.

    Raises:
        DataError: another shape, or numbers that are none of the symbols.
    """
    if not isinstance(given, np.ndarray | OnDisk) or given.dtype.kind not in "biuf":
        return None
    check_features(given, schema.event_shape, what)
    if not remembered(given, f"symbols {num_symbols}", lambda: _are_symbols(given, num_symbols)):
        raise DataError(f"{what} holds numbers that are none of the {num_symbols:,} symbols of the model; give {word}.")
    return given.astype(np.int32)


def _are_symbols(x: Array, num_symbols: int) -> bool:
    blocks = (block for _, block in row_blocks(x, block_bytes=_AT_ONCE))
    return all(bool(((b >= 0) & (b < num_symbols) & (b == np.round(b))).all()) for b in blocks)


def untransformed(facts: LikelihoodFacts, name: str, are: str, recipe: str) -> Identity:
    """The numbers of symbols as they are.

    Arguments:
        facts: of the likelihood.
        name: of the data, for the message.
        are: what they are, as in "is text".
        recipe: that fits them.

    Raises:
        DataError: a likelihood of something else, to which the numbers of symbols mean nothing.
    """
    if facts.domain != "tokens":
        raise DataError(
            f"{name} {are} and the model is of {facts.domain}; take the recipe {recipe} or language-model, or the "
            "likelihood tokens."
        )
    return Identity()


def as_they_came(strings: list[str], column: str | None, container: str) -> Any:
    """A list, or a DataFrame where they were a column of a table."""
    if column is None or container not in _WITH_COLUMNS:
        return strings
    import pandas

    return pandas.DataFrame({column: strings})


def keep_rows(
    contents: Contents, strings: Sequence[str], bad: Bool[np.ndarray, "row"], said: str, cannot: str, *, refuse: bool
) -> tuple[Contents, np.ndarray | None]:
    """The contents without some rows, with a remark; and which of the rows are left, or None for all.

    Arguments:
        contents: as a reader found them.
        strings: of all rows.
        bad: which rows are left out (N,).
        said: what these are, as "3 empty of the 20 texts of lines.txt".
        cannot: what cannot be done with them, for the refusal.
        refuse: whether to refuse them instead.

    Raises:
        DataError: nothing is left, or `refuse` and something would be left out.
    """
    rows = np.flatnonzero(~bad)
    if len(rows) == len(bad):
        return contents, None
    first = int(np.flatnonzero(bad)[0])
    if refuse or not len(rows):
        raise DataError(f"{said}, row {first} first, cannot be {cannot} by this model; leave them out.")
    y = None if contents.y is None else contents.y[rows]
    kept = contents.x[rows] if isinstance(contents.x, np.ndarray) else contents.x.iloc[rows]
    texts = [strings[int(row)] for row in np.flatnonzero(bad)[:_SHOWN]]
    remark = left_out(said, np.flatnonzero(bad), texts)
    return replace(contents, x=kept, y=y, remarks=(*contents.remarks, remark)), rows


def left_out(said: str, rows: Sequence[int] | np.ndarray, texts: Sequence[str] = ()) -> str:
    """The sentence about what was left out: how many, why, and the first of them.

    >>> left_out("4 of the 9 lines of some.smi", [2, 3, 5, 8], ["smiles", "", "C1CC"])
    "Left out: 4 of the 9 lines of some.smi: rows 2 ('smiles'), 3, 5 ('C1CC') and others."

    Arguments:
        said: what these are, as for `keep_rows`.
        rows: their numbers, from 0.
        texts: what the first of them hold.
    """
    held = [*(f" ('{clipped(text.strip(), 30)}')" if text.strip() else "" for text in texts), *[""] * _SHOWN]
    shown = [f"{row}{text}" for row, text in zip(rows[:_SHOWN], held, strict=False)]
    more = " and others" if len(rows) > _SHOWN else ""
    return f"Left out: {said}: row{'s' * (len(rows) > 1)} {', '.join(shown)}{more}."
