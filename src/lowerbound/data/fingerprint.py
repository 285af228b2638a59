"""The checksum that identifies data: of values and shapes, for any type of the file that held them."""

from __future__ import annotations

import hashlib

import numpy as np

from lowerbound.data.blocks import row_blocks
from lowerbound.data.remembered import remembered
from lowerbound.data.schema import Schema
from lowerbound.data.sparse import Array

__all__ = ["canonical_dtype", "fingerprint", "former_fingerprint"]


def canonical_dtype(schema: Schema) -> np.dtype:
    """The type in which rows are fingerprinted; it holds every value that training can distinguish."""
    if schema.kind != "image":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if schema.pixel_levels is None else np.dtype(np.uint8)


def fingerprint(
    x_train: Array,
    *others: np.ndarray | None,
    train_rows: np.ndarray | None = None,
    dtype: np.dtype | None = None,
) -> str:
    """The sha256 of arrays: of the type, shape and values of each in turn.

    A memory map with `train_rows` has the same fingerprint as the same rows in memory, and rows of one type that of the
    same values in another.

    Arguments:
        x_train: the training rows, or the memory map that holds them.
        others: the test rows, and any other arrays; None counts as an array that is not there.
        train_rows: which rows of `x_train` count; all of them if None.
        dtype: the type to which training and test rows are converted; None for that of `x_train`.

    Returns:
        64 hexadecimal digits.
    """
    name = "fingerprint" if isinstance(x_train, np.ndarray) else f"fingerprint {dtype} {_of_rest(train_rows, others)}"
    return remembered(x_train, name, lambda: _fingerprint(x_train, others, train_rows, dtype))


def _of_rest(train_rows: np.ndarray | None, others: tuple[np.ndarray | None, ...]) -> str:
    """What the fingerprint depends on besides rows on disk."""
    digest = hashlib.sha256()
    for array in (train_rows, *others):
        digest.update(b"none;" if array is None else _header(array.dtype, array.shape))
        digest.update(b"" if array is None else _bytes(array, array.dtype))
    return digest.hexdigest()


def _fingerprint(
    x_train: Array,
    others: tuple[np.ndarray | None, ...],
    train_rows: np.ndarray | None,
    dtype: np.dtype | None,
) -> str:
    digest = hashlib.sha256()
    dtype = x_train.dtype if dtype is None else dtype
    num_rows = len(x_train) if train_rows is None else len(train_rows)
    digest.update(_header(dtype, (num_rows, *x_train.shape[1:])))
    for _, block in row_blocks(x_train, train_rows):
        digest.update(_bytes(block, dtype))
    for i, array in enumerate(others):
        if array is None:
            digest.update(b"none;")
            continue
        kept = dtype if i == 0 else array.dtype
        digest.update(_header(kept, array.shape))
        digest.update(_bytes(array, kept))
    return digest.hexdigest()


def _bytes(x: np.ndarray, dtype: np.dtype) -> memoryview:
    """Convert values to a type, with one representation for all NaN and one for all zeros."""
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=dtype)
    if dtype.kind == "f" and x.size:
        x = np.where(np.isnan(x), np.nan, x + 0.0).astype(dtype, copy=False)
    return np.ascontiguousarray(x).data


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    return f"{dtype.str}{tuple(int(n) for n in shape)};".encode()


def former_fingerprint(
    schema: Schema,
    x_train: Array,
    x_test: np.ndarray,
    y_train: np.ndarray | None,
    y_test: np.ndarray | None,
    *,
    train_rows: np.ndarray | None = None,
) -> str:
    """The fingerprint as it was before there were schemas.

    Rows were rounded to float32, unless the file held bytes, and numbers of classes were those in the file.
    """
    byte = schema.pixel_levels is not None or schema.dtype == "uint8"
    dtype = np.dtype(np.uint8 if byte else np.float32)
    labels = (_former_labels(y, schema) for y in (y_train, y_test))
    return fingerprint(x_train, x_test, *labels, train_rows=train_rows, dtype=dtype)


def _former_labels(y: np.ndarray | None, schema: Schema) -> np.ndarray | None:
    """Labels as they were kept before classes had names: numbers as they are, text by its order."""
    kind = np.dtype(schema.label_dtype or "float32").kind
    if y is None or schema.classes is None or kind in "OUST":
        return y
    words = {"True": 1.0, "False": 0.0}
    values = np.array([words[c] if c in words else float(c) for c in schema.classes] + [-1.0])[y]
    return values.astype(np.float32 if kind == "f" else np.int64)
