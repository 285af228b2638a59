"""Checks that data must pass before a model sees it.

Each function returns nothing when the data is good and raises `DataError` when it is not, with one
sentence that names the array (or file, or column), says what was found and where, and what to do.
`name` is the name of the array in the message, such as ``"array 'x' of faces.npz"``. Large arrays
are read in blocks, so that a memory map is checked without being loaded.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.blocks import row_blocks
from lowerbound.data.errors import DataError, clipped, nearest
from lowerbound.data.remembered import remembered
from lowerbound.data.sparse import DENSE, Array

__all__ = [
    "MOST_COLUMNS",
    "SAVED_AS_AN_ARRAY",
    "DataError",
    "check_array",
    "check_column",
    "check_columns_vary",
    "check_counts",
    "check_features",
    "check_finite",
    "check_labels",
    "check_numeric",
    "check_path",
    "check_rows",
    "check_unit_interval",
    "check_varies",
    "check_width",
    "is_gone",
    "numbers_of",
]

MOST_COLUMNS = 100_000
"""Of a table, of which each is described by itself: seconds of work, and some megabytes of run.json."""

SAVED_AS_AN_ARRAY = "save the numbers as an .npy file and say kind='array'"
"""What is left to do with a file of more columns, in the words of `check_width`."""


def is_gone(path: Path) -> bool:
    """Whether nothing has this name, nor files those of this pattern."""
    try:
        path.stat()
    except FileNotFoundError:
        return not glob.has_magic(str(path))
    except (OSError, ValueError):  # see `check_path`, which says what is wrong
        return False
    return False


def check_path(path: Path) -> None:
    """Refuse a path that is neither a regular file nor a folder, or that this user cannot read.

    Nothing is opened, because opening a pipe would wait for a writer.

    Raises:
        DataError: saying what it is.
    """
    name = clipped(str(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"there is no file '{name}'; check the path and the working folder.") from None
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a folder without permission
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "not a name of a file"
        raise DataError(f"the file '{name}' cannot be read ({reason}); check the path.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"'{name}' is neither a file nor a folder; give the path of data that stay where they are.")
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise DataError(f"the file '{name}' cannot be read; check its permissions.")


def check_width(num_columns: int, name: str, otherwise: str = "say kind='array'") -> None:
    """Refuse a table of more columns than each can be described by itself.

    Arguments:
        num_columns: how many it has.
        name: of the table.
        otherwise: how the user has all of them taken for numbers of one kind.

    Raises:
        DataError: giving their number.
    """
    if num_columns > MOST_COLUMNS:
        raise DataError(
            f"{name} has {num_columns:,} columns and a table at most {MOST_COLUMNS:,}, each with a kind of its own; "
            f"leave some out, or {otherwise}, which takes all for numbers of one kind."
        )


def check_numeric(x: Array, name: str) -> None:
    """Refuse arrays of objects, text, dates or complex numbers.

    Raises:
        DataError: unless `x` holds booleans, integers or real floating-point numbers.
    """
    if x.dtype == object:
        raise DataError(
            f"{name} holds Python objects, which are never loaded because they can run code; "
            "save it again as a plain array of numbers."
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} has type {x.dtype}; expected real numbers: convert it first.")


def check_no_fields(x: Any, name: str) -> None:
    """Refuse an array whose elements have fields, which is a table in another form.

    Raises:
        DataError: naming the fields.
    """
    fields = getattr(getattr(x, "dtype", None), "names", None)
    if fields:
        listed = ", ".join(f"'{clipped(field, 20)}'" for field in fields[:4])
        raise DataError(
            f"{name} is a structured array with the fields {listed}{', …' if len(fields) > 4 else ''}; expected rows "
            "of numbers or a table: make one with pandas.DataFrame(x), and give it or save it as .csv."
        )


def numbers_of(given: Any, what: str) -> Any:
    """Rows as an array of numbers, which may stay on disk.

    Raises:
        DataError: a DataFrame with a column of others, or an array of no numbers.
    """
    if isinstance(given, DENSE):
        check_numeric(given, what)
        return given
    for name, dtype in zip(given.columns, given.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in "biuf":
            raise DataError(
                f"column '{clipped(str(name))}' of {what} holds no plain numbers ({dtype}), of which alone images and "
                "arrays are made; leave the kind out, or the column."
            )
    return given.to_numpy()


def check_rows(x: Array, name: str, called: str = "row") -> None:
    """Refuse an array with no values or with a single row, which messages call a row or a series.

    Raises:
        DataError: if `x` is empty or if its first axis has length one.
    """
    if x.ndim == 0 or x.size == 0:
        raise DataError(f"{name} is empty (shape {x.shape}); expected at least two rows of numbers.")
    if len(x) == 1:
        raise DataError(f"{name} holds one {called}; a model is fitted to at least two: add more data.")


_TOO_LARGE = " (or beyond 3.4e38)"


def check_finite(x: Array, name: str, columns: Sequence[str] | None = None, *, missing: bool = False) -> None:
    """Refuse NaN and infinities, saying how many there are and where the first one is.

    Arguments:
        x: an array (N, *event_shape).
        name: how the message calls `x`.
        columns: names for the second axis, used to say where.
        missing: whether NaN marks an unknown entry and is allowed.

    Raises:
        DataError: if any value is not finite as a float32.
    """
    if x.dtype.kind == "f":
        remembered(x, f"finite {missing}", lambda: _pass_finite(x, name, columns, missing=missing))


def _pass_finite(x: Array, name: str, columns: Sequence[str] | None, *, missing: bool) -> None:
    count, first = 0, None
    for start, block in row_blocks(x):
        bad = ~(np.abs(block) <= np.finfo(np.float32).max)
        if missing:
            bad &= ~np.isnan(block)
        found = int(bad.sum())
        if found and first is None:
            row, *rest = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
            first = (start + row, *rest)
        count += found
    if first is not None:
        kinds = "infinite" if missing else "NaN or infinite"
        verb = "value that is" if count == 1 else "values that are"
        raise DataError(
            f"{name} holds {count} {verb} {kinds} (or beyond 3e38, which float32 cannot hold); the first is at "
            f"{_place(first, columns)}: remove, fill or rescale."
        )


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else noun + "s"


def _place(index: tuple[int, ...], columns: Sequence[str] | None) -> str:
    if len(index) == 1:
        return f"row {index[0]}"
    if len(index) == 2:
        column = f"'{columns[index[1]]}'" if columns else index[1]
        return f"row {index[0]}, column {column}"
    return f"index {index}"


def check_varies(x: Array, name: str) -> None:
    """Refuse an array whose values, those that are NaN apart, are all the same.

    Raises:
        DataError: if every value of `x` equals the first.
    """
    remembered(x, "varies", lambda: _pass_varies(x, name))


def _pass_varies(x: Array, name: str) -> None:
    value = next((seen[0] for _, block in row_blocks(x) if len(seen := block[~np.isnan(block)])), np.nan)
    if all(((block == value) | np.isnan(block)).all() for _, block in row_blocks(x)):
        raise DataError(
            f"{name} is constant (every value is {value:g}), so there is nothing to learn; "
            "check that the right array was given."
        )


def check_array(x: Array, name: str, columns: Sequence[str] | None = None, *, missing: bool = False) -> None:
    """Every check that training data must pass: numbers, at least two rows, finite (or missing), not constant.

    >>> check_array(np.zeros((1, 3)), "array 'x'")
    Traceback (most recent call last):
    lowerbound.data.errors.DataError: array 'x' holds one row; ...

    Raises:
        DataError: at the first check that fails.
    """
    check_numeric(x, name)
    check_rows(x, name)
    check_finite(x, name, columns, missing=missing)
    check_varies(x, name)


def check_columns_vary(
    x: Array,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    rows: np.ndarray | None = None,
) -> None:
    """Refuse a table with a constant column, which has no scale to standardise by.

    Arguments:
        x: a table (N, D).
        name: how the message calls `x`.
        columns: the D column names; positions are shown if None.
        rows: the rows to look at; all of them if None.

    Raises:
        DataError: naming the constant columns.
    """
    constant = np.ones(x.shape[1:], dtype=bool)
    first: np.ndarray | None = None
    for _, block in row_blocks(x, rows):
        first = block[0].copy() if first is None else first
        constant &= (block == first).all(axis=0)
        if not constant.any():
            return
    found = [repr(columns[i]) if columns else str(i) for i in np.flatnonzero(constant).tolist()]
    shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    raise DataError(
        f"{name} has {len(found)} constant {_plural(len(found), 'column')} ({shown}), which cannot "
        "be standardised; leave them out."
    )


def check_features(x: Array, expected_shape: tuple[int, ...], name: str) -> None:
    """Refuse rows whose shape is not the one a model was fitted to.

    Arguments:
        x: an array (N, *event_shape).
        expected_shape: the event shape wanted.
        name: how the message calls `x`.

    Raises:
        DataError: if `x.shape[1:]` differs from `expected_shape`.
    """
    got = tuple(x.shape[1:])
    if x.ndim == 0 or got != tuple(expected_shape):
        raise DataError(
            f"{name} has rows of {_shape(got)}; expected rows of {_shape(tuple(expected_shape))}: "
            "give data with the features the model was fitted to."
        )


def _shape(event_shape: tuple[int, ...]) -> str:
    if len(event_shape) == 1:
        return f"{event_shape[0]} {_plural(event_shape[0], 'feature')}"
    return f"shape {event_shape}"


def check_unit_interval(x: np.ndarray, name: str) -> None:
    """Refuse values outside [0, 1], which a Bernoulli likelihood cannot take.

    Bytes pass: a byte k of an image stands for the intensity k / 255.

    Raises:
        DataError: giving the range found.
    """
    if x.dtype == np.uint8:
        return
    extremes = [(block.min(), block.max()) for _, block in row_blocks(x)]
    low, high = min(a for a, _ in extremes), max(b for _, b in extremes)
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"{name} holds values from {low:g} to {high:g}; a Bernoulli likelihood expects [0, 1]: "
            "rescale the data or choose another likelihood."
        )


def check_counts(x: np.ndarray, name: str) -> None:
    """Refuse values that are not counts 0, 1, 2, ...

    Raises:
        DataError: giving the first value that is no count.
    """
    for _, block in row_blocks(x):
        bad = (block < 0) | (block != np.round(block))
        if bad.any():
            raise DataError(
                f"{name} holds {block[bad][0]:g}; a likelihood of counts expects 0, 1, 2, ...: give counts, or choose "
                "another likelihood."
            )


def check_column(label: str, columns: Iterable[str], name: str) -> None:
    """Refuse a label that is not among the columns (or arrays), listing the nearest names.

    Raises:
        DataError: if `label` is not in `columns`.
    """
    known = [str(column) for column in columns]
    if label not in known:
        offered = ", ".join(f"'{clipped(near)}'" for near in nearest(label, known))
        raise DataError(
            f"{name} has no '{clipped(label)}'; the nearest of its {len(known)} names: {offered or 'none'}."
        )


def check_labels(y: np.ndarray, num_rows: int, name: str) -> None:
    """Refuse labels that are not one number for each row.

    Raises:
        DataError: if `y` is not of shape (num_rows,).
    """
    if y.shape != (num_rows,):
        raise DataError(f"{name} has shape {y.shape}; expected one label for each of the {num_rows} rows.")
