"""From the arrays people save to the rows a model takes.

A file's array says by its axes what it holds: (N, D) is a table, (N, H, W) are grey images and
(N, H, W, C) are images with C channels last, as image files have them. Convolutions want the
channels first, so (N, H, W, C) becomes (N, C, H, W): a view, which costs nothing for a memory map.

Labels become int64 classes, or float32 values where they are measurements. Text labels are numbered
in alphabetical order and their names kept.
"""

from typing import Literal

import numpy as np

from lowerbound.data.blocks import model_dtype
from lowerbound.data.checks import check_numeric, check_rows
from lowerbound.data.errors import DataError

__all__ = ["as_labels", "in_memory", "kind_of", "rows_first"]


def kind_of(x: np.ndarray, name: str) -> Literal["image", "table"]:
    """Whether an array holds images or a table, from its axes.

    Raises:
        DataError: if it is not numeric, is empty, has other axes, has integers other than bytes as
            pixels, or does not have its one to four channels last.
    """
    check_numeric(x, name)
    check_rows(x, name)
    if x.ndim == 2:
        return "table"
    if x.ndim not in (3, 4):
        raise DataError(
            f"{name} has shape {x.shape}; expected a table (N, D), or images (N, H, W) or (N, H, W, C): reshape it."
        )
    if x.dtype.kind in "iu" and x.dtype != np.uint8:
        raise DataError(
            f"{name} holds images of type {x.dtype}; expected uint8 in 0..255 or floating point in "
            "[0, 1]: convert it first."
        )
    if x.ndim == 4 and x.shape[-1] not in (1, 2, 3, 4):
        raise DataError(
            f"{name} has shape {x.shape}; expected images (N, H, W, C) with one to four channels "
            "on the last axis: move the channels there."
        )
    return "image"


def rows_first(x: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) as a view (N, C, H, W); any other array as it is."""
    return np.moveaxis(x, -1, 1) if x.ndim == 4 else x


def in_memory(x: np.ndarray) -> np.ndarray:
    """The array as contiguous uint8 or float32; what float32 cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, dtype=model_dtype(x))


def as_labels(y: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels as int64 classes or float32 values, and the names of the classes where they are text.

    >>> as_labels(np.array(["cat", "ant", "cat"]), "y")
    (array([1, 0, 1]), ('ant', 'cat'))

    Raises:
        DataError: if a label is missing, or if labels are neither numbers nor text.
    """
    if y.dtype.kind in "OUT":
        _check_text(y, name)
        names, codes = np.unique(y.astype(str), return_inverse=True)
        return codes.reshape(y.shape).astype(np.int64), tuple(str(n) for n in names)
    check_numeric(y, name)
    if y.dtype.kind != "f":
        return y.astype(np.int64), None
    missing = np.flatnonzero(~np.isfinite(y))
    if len(missing):
        raise DataError(_missing(name, len(missing), int(missing[0])))
    return y.astype(np.float32), None


def _check_text(y: np.ndarray, name: str) -> None:
    missing = [i for i, value in enumerate(y.flat) if not isinstance(value, str)]
    if missing:
        raise DataError(_missing(name, len(missing), missing[0]))


def _missing(name: str, count: int, first: int) -> str:
    return (
        f"{name} has {count} missing or unusable labels, the first at row {first}; fill them or leave out those rows."
    )
