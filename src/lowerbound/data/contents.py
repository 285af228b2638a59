"""What every reader hands back, before the split, the checks and the checksum."""

from dataclasses import dataclass

import numpy as np

from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError
from lowerbound.data.layout import as_labels, in_memory, kind_of, rows_first
from lowerbound.data.split import num_held_out, split_rows

__all__ = ["Contents", "to_dataset"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """The arrays of one file.

    Attributes:
        what: how a message calls the array of rows.
        x: the rows, as stored; a memory map if the file is too large for memory.
        x_test: the test rows, or None if the file does not say which they are.
        y: the labels of `x`, or None.
        y_test: the labels of `x_test`, or None.
        feature_names: the names of a table's columns.
    """

    what: str
    x: np.ndarray
    x_test: np.ndarray | None = None
    y: np.ndarray | None = None
    y_test: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None


def to_dataset(contents: Contents, *, name: str, source: str) -> Dataset:
    """Arrange, split, check and fingerprint what a file held.

    Raises:
        DataError: if the arrays fail a check.
    """
    kind = kind_of(contents.x, contents.what)
    y, y_test, label_names = _labels(contents, name)
    x = rows_first(contents.x)
    train = test = None
    if contents.x_test is None:
        train, test = (np.sort(rows) for rows in split_rows(len(x), num_held_out(len(x))))
        x_test = x[test]
    else:
        if kind_of(contents.x_test, f"the test part of {name}") != kind:
            raise DataError(f"the training and test parts of {name} differ in their number of axes.")
        x_test = rows_first(contents.x_test)
    streamed = isinstance(x, np.memmap)
    if not streamed:
        x = in_memory(x if train is None else x[train])
    return Dataset.from_arrays(
        name=name,
        kind=kind,
        x_train=x,
        x_test=in_memory(x_test),
        y_train=y if y is None or train is None else y[train],
        y_test=y_test if test is None or y is None else y[test],
        train_rows=train if streamed else None,
        feature_names=contents.feature_names,
        label_names=label_names,
        source=source,
    )


def _labels(contents: Contents, name: str) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...] | None]:
    """Training and test labels, numbered together so that a class has one number in both."""
    if contents.y is None:
        return None, None, None
    parts = [contents.y] if contents.y_test is None else [contents.y, contents.y_test]
    if any(part.ndim != 1 for part in parts) or len(contents.y) != len(contents.x):
        raise DataError(
            f"the labels of {name} have shape {contents.y.shape}; expected one label for each of "
            f"the {len(contents.x)} rows."
        )
    y, label_names = as_labels(np.concatenate(parts), f"the labels of {name}")
    return y[: len(contents.x)], y[len(contents.x) :] if len(parts) == 2 else None, label_names
