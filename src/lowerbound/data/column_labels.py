"""Names of the columns of a DataFrame that are no text: numbers, and tuples of a table with several levels of names.

Everywhere else a column is called by the text of its name: 3 is "3", ("len", "a") is "('len', 'a')". Python reads this
text back as the name that it was (`ast.literal_eval`, which runs no code), so that a schema needs to keep no more than
which names are not text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lowerbound.data.errors import DataError, clipped
from lowerbound.data.schema import Column, Schema

if TYPE_CHECKING:
    import pandas

__all__ = ["check_column_labels", "index_of", "levels_of", "name_of", "with_labels"]


def check_column_labels(labels: Iterable[Any], what: str) -> None:
    """Refuse names that their text does not give back, such as dates.

    Raises:
        DataError: naming one.
    """
    for label in labels:
        if not isinstance(label, str) and not _comes_back(label):
            raise DataError(
                f"{what} has a column whose name is of type {type(label).__name__} ({clipped(str(label), 40)}); name "
                "columns by text, numbers or tuples of these, as in X.columns = X.columns.map(str)."
            )


def name_of(label: Any) -> str:
    """The text by which a column is called.

    >>> name_of("age"), name_of((np.int64(3), "a"))
    ('age', "(3, 'a')")
    """
    parts = label if isinstance(label, tuple) else ()
    return str(tuple(one.item() if isinstance(one, np.generic) else one for one in parts) if parts else label)


def with_labels(columns: Sequence[Column], labels: Iterable[Any]) -> tuple[Column, ...]:
    """The columns, each told whether its name is text."""
    literal = {str(label) for label in labels if not isinstance(label, str)}
    return tuple(replace(column, literal=True) if column.name in literal else column for column in columns)


def levels_of(labels: Any) -> tuple[str | None, ...]:
    """What the levels of the names are called; () where none is called anything and there is but one."""
    names = tuple(None if name is None else str(name) for name in getattr(labels, "names", ()))
    return () if names == (None,) else names


def index_of(schema: Schema) -> pandas.Index:
    """The names of the columns of a table, as the user's DataFrame had them."""
    import pandas

    columns = schema.columns or ()
    labels: list[Any] = [ast.literal_eval(column.name) if column.literal else column.name for column in columns]
    if len(schema.levels) > 1:
        return pandas.MultiIndex.from_tuples(labels, names=schema.levels)
    index = pandas.Index(labels, tupleize_cols=False)
    return index.rename(schema.levels[0]) if schema.levels else index


def _comes_back(label: Any) -> bool:
    try:
        return ast.literal_eval(str(label)) == label
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
