"""Building the named data sets of `lowerbound.data.catalog` from their files."""

from typing import Any

import numpy as np

from lowerbound.data.catalog import Entry
from lowerbound.data.dataset import Dataset
from lowerbound.data.download import obtain
from lowerbound.data.split import split_rows

__all__ = ["load_digits", "load_file"]


def load_digits(entry: Entry) -> Dataset:
    """Scikit-learn's digits: values 0..16 as float32 k / 16, split at random once and for all."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch: Any = sklearn_digits()
    x = (bunch.images / 16).astype(np.float32)
    y = bunch.target.astype(np.int64)
    train, test = split_rows(len(x), entry.num_test)
    return Dataset.from_arrays(
        name=entry.name,
        kind=entry.kind,
        x_train=x[train],
        x_test=x[test],
        y_train=y[train],
        y_test=y[test],
        source=entry.origin,
    )


def load_file(entry: Entry, *, download: bool) -> Dataset:
    """A data set kept in an .npz file: `x_train` and `x_test`, or `x` to be split.

    Raises:
        DataError: if the file is altered or cannot be had.
    """
    assert entry.file is not None
    path = obtain(entry.file, entry.sha256, download=download)
    with np.load(path, allow_pickle=False) as archive:
        if "x_train" in archive.files:
            x_train, x_test = archive["x_train"], archive["x_test"]
        else:
            train, test = split_rows(len(archive["x"]), entry.num_test)
            x_train, x_test = archive["x"][train], archive["x"][test]
        y_train, y_test = (
            _labels(archive, entry.label, "train"),
            _labels(archive, entry.label, "test"),
        )
        named = f"{entry.label}_names" in archive.files
        label_names = tuple(str(n) for n in archive[f"{entry.label}_names"]) if named else None
    return Dataset.from_arrays(
        name=entry.name,
        kind=entry.kind,
        x_train=x_train,
        x_test=x_test,
        y_train=y_train,
        y_test=y_test,
        label_names=label_names,
        source=f"{entry.origin}, from {entry.file}",
    )


def _labels(archive: Any, label: str | None, part: str) -> np.ndarray | None:
    if label is None:
        return None
    return archive[f"{label}_{part}"]
