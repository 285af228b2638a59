"""A data set: training and test rows, their labels, and a checksum that tells them from any other.

Rows are kept as they were read, in one of two types, and the type says how to read the numbers:

* uint8: a pixel byte k in 0..255 that stands for the intensity k / 255;
* float32: the values themselves, never rescaled.

Images are (N, H, W), or (N, C, H, W) with the channels first. Tables are (N, D). A file too large
for memory stays on disk: then `x_train` is the whole memory map, `train_rows` lists which of its
rows are training rows, and its rows are read as float32 (or uint8) a batch at a time.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowerbound.data.blocks import model_dtype, row_blocks
from lowerbound.data.checks import check_array, check_features, check_finite, check_labels
from lowerbound.data.errors import DataError

__all__ = ["Dataset", "fingerprint"]

Kind = Literal["image", "table"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Rows split into training and test parts. Build one with `Dataset.from_arrays`.

    Attributes:
        name: what it is called in a report.
        kind: whether rows are images or rows of a table.
        x_train: training rows (N, *event_shape), uint8 or float32; a memory map of any numeric
            type, training and test rows together, where `train_rows` is given.
        x_test: test rows (M, *event_shape), uint8 or float32, always in memory.
        y_train: labels (number of training rows,), int64 classes or float32 values, or None.
        y_test: labels (M,) or None.
        train_rows: which rows of `x_train` are training rows, int64, or None for all of them.
        feature_names: the names of a table's columns.
        label_names: the name of each class where labels are classes with names.
        source: where the data came from, in words.
        checksum: sha256 of the rows, labels, shapes and types (see `fingerprint`).
    """

    name: str
    kind: Kind
    x_train: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray | None = None
    y_test: np.ndarray | None = None
    train_rows: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    source: str
    checksum: str

    @classmethod
    def from_arrays(
        cls,
        *,
        name: str,
        kind: Kind,
        x_train: np.ndarray,
        x_test: np.ndarray,
        y_train: np.ndarray | None = None,
        y_test: np.ndarray | None = None,
        train_rows: np.ndarray | None = None,
        feature_names: tuple[str, ...] | None = None,
        label_names: tuple[str, ...] | None = None,
        source: str,
    ) -> "Dataset":
        """Check the arrays and compute their checksum.

        >>> x = np.eye(4, dtype=np.float32)
        >>> data = Dataset.from_arrays(
        ...     name="eye", kind="table", x_train=x[:3], x_test=x[3:], source="made here")
        >>> data.event_shape, data.num_train, data.num_test
        ((4,), 3, 1)

        Raises:
            DataError: if the arrays fail a check of `lowerbound.data.checks`.
        """
        _check_rows(name, x_train, x_test, train_rows, feature_names)
        num_train = len(x_train) if train_rows is None else len(train_rows)
        if y_train is not None:
            check_labels(y_train, num_train, f"the training labels of {name}")
        if y_test is not None:
            check_labels(y_test, len(x_test), f"the test labels of {name}")
        return cls(
            name=name,
            kind=kind,
            x_train=x_train,
            x_test=x_test,
            y_train=y_train,
            y_test=y_test,
            train_rows=train_rows,
            feature_names=feature_names,
            label_names=label_names,
            source=source,
            checksum=fingerprint(x_train, x_test, y_train, y_test, train_rows=train_rows),
        )

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.x_test.shape[1:])

    @property
    def num_train(self) -> int:
        """How many training rows there are."""
        return len(self.x_train) if self.train_rows is None else len(self.train_rows)

    @property
    def num_test(self) -> int:
        """How many test rows there are."""
        return len(self.x_test)

    @property
    def pixel_scale(self) -> float | None:
        """The stored value that stands for intensity 1: 255 for bytes, None for other values."""
        return 255.0 if self.x_test.dtype == np.uint8 else None

    @property
    def scaling(self) -> str:
        """How stored numbers become the numbers a model sees, as a sentence."""
        if self.pixel_scale is not None:
            return "Pixels are bytes k in 0..255 and stand for the intensities k / 255."
        if self.kind == "image":
            return "Intensities are used as stored, without rescaling."
        return "Columns are used as stored, in their own units, unless a transform standardises them."


def _check_rows(
    name: str,
    x_train: np.ndarray,
    x_test: np.ndarray,
    train_rows: np.ndarray | None,
    feature_names: tuple[str, ...] | None,
) -> None:
    check_array(x_train, f"the training part of {name}", feature_names)
    check_features(x_test, tuple(x_train.shape[1:]), f"the test part of {name}")
    if len(x_test) == 0:
        raise DataError(f"the test part of {name} is empty; hold out at least one row.")
    check_finite(x_test, f"the test part of {name}", feature_names)
    if x_test.dtype != model_dtype(x_train):
        raise DataError(
            f"the test part of {name} has type {x_test.dtype}; expected {model_dtype(x_train)}: "
            "store both parts in one type."
        )
    if train_rows is None and x_train.dtype != model_dtype(x_train):
        raise DataError(
            f"the training part of {name} has type {x_train.dtype}; expected uint8 or float32: convert it first."
        )


def fingerprint(x_train: np.ndarray, *others: np.ndarray | None, train_rows: np.ndarray | None = None) -> str:
    """The sha256 of arrays: of the type, shape and bytes of each in turn, as the model sees them.

    A memory map with `train_rows` has the same fingerprint as the same rows in memory.

    Arguments:
        x_train: the training rows, or the memory map that holds them.
        others: any other arrays; None counts as an array that is not there.
        train_rows: which rows of `x_train` count; all of them if None.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    num_rows = len(x_train) if train_rows is None else len(train_rows)
    digest.update(_header(model_dtype(x_train), (num_rows, *x_train.shape[1:])))
    for _, block in row_blocks(x_train, train_rows):
        digest.update(np.ascontiguousarray(block).data)
    for array in others:
        if array is None:
            digest.update(b"none;")
        else:
            digest.update(_header(array.dtype, array.shape))
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    return f"{dtype.str}{tuple(int(n) for n in shape)};".encode()
