"""Whether X has rows and columns: scikit-learn asks it too, and prints the whole of X where it has not."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from lowerbound.data.checks import check_no_fields

__all__ = ["check_two_axes"]


def check_two_axes(X: Any, what: str = "X", columns: str = "D") -> None:
    """Refuse an array of numbers without rows and columns.

    Arguments:
        X: what the user gave; anything that is no array or list is left to scikit-learn.
        what: how the message calls it.
        columns: how the message calls the number of its columns.

    Raises:
        ValueError: another number of axes than two, or elements with fields.
    """
    if not isinstance(X, np.ndarray | list | tuple | int | float | None):
        return
    check_no_fields(X, what)
    try:
        shape = np.shape(cast(Any, X))
    except ValueError:  # lists of unequal lengths
        raise ValueError(f"{what} has rows that differ in length; give each row {columns} columns.") from None
    if len(shape) != 2:
        given = "None" if X is None else f"an array of shape {shape}"
        raise ValueError(
            f"{what} is {given}; expected rows (N, {columns}). Reshape your data: a single column is X[:, None], a "
            "single row X[None], and images are flattened, with event_shape given."
        )
