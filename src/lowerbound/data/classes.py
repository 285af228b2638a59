"""Labels as classes: numbers 0 … C−1, on which a model is conditioned, or some of which it learns.

The schema says which class has which number (`data.labels`).

one-hot row of class c:  e_c in {0, 1}^C          no label: −1
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError
from lowerbound.data.labels import MOST_CLASSES, UNLABELLED
from lowerbound.row_numbers import row_number

__all__ = [
    "UNLABELLED",
    "check_classes",
    "class_named",
    "num_classes",
    "number_of_unknown",
    "one_hot",
    "one_hot_or_zero",
    "only_some",
]


def num_classes(dataset: Dataset, *, some_unlabelled: bool = False) -> int:
    """C: how many classes the schema names.

    Arguments:
        dataset: with labels.
        some_unlabelled: whether −1 may stand for no label.

    Raises:
        DataError: no labels, labels that are not classes, or a single class where classes are told apart.
    """
    y, classes = dataset.y_train, dataset.schema.classes
    if y is None:
        raise DataError(
            f"{dataset.name} has no labels and this model needs them; name their column with --label (y= in Python)."
        )
    if classes is None:
        raise DataError(
            f"the labels of {dataset.name} are measurements (fractions, or over {MOST_CLASSES:,} different numbers) "
            "and this model needs classes; name another label."
        )
    check_classes(y, len(classes), dataset.name, some_unlabelled=some_unlabelled)
    if some_unlabelled and len(classes) < 2:
        raise DataError(
            f"the labels of {dataset.name} are of {len(classes)} class and this model tells classes apart; give labels "
            "of at least two (−1 stands for no label: give it a name if it is a class)."
        )
    return len(classes)


def check_classes(
    y: np.ndarray | None, count: int | None, name: str, *, some_unlabelled: bool = False
) -> Int64[np.ndarray, "row"]:
    """The labels, if they are classes that training has seen.

    Arguments:
        y: labels (N,).
        count: C; None for any number.
        name: of the data, for the message.
        some_unlabelled: whether −1 may stand for no label.

    Raises:
        DataError: no labels, labels that are not whole numbers from 0 to C − 1, or no row with a label.
    """
    if y is None:
        raise DataError(
            f"{name} has no labels and the model is conditional on them; name their column with --label (in Python "
            "give `fitted.rows(X, y=labels)`)."
        )
    lowest = UNLABELLED if some_unlabelled else 0
    strange = np.flatnonzero((y < lowest) | (y != np.floor(y)) | (y >= (np.inf if count is None else count)))
    if len(strange):
        value, row = y[strange[0]], row_number(strange[0])
        if value == UNLABELLED:
            raise DataError(
                f"{name} has no label at row {row} (−1 stands for none), and this model needs one for each: leave such "
                "rows out, or give −1 a name if it is a class."
            )
        known = "whole numbers from 0" if count is None else f"classes 0 to {count - 1}, as in training"
        raise DataError(f"{name} has the label {value:g} at row {row}; expected {known}: leave such rows out.")
    if len(y) and y.max() == UNLABELLED:
        raise DataError(f"{name} has no row with a label (all are −1); label some rows, or fit another recipe.")
    return y.astype(np.int64)


def one_hot(y: np.ndarray, count: int) -> Tensor:
    """Class numbers (N,) as rows (N, count) of 0 and 1, float32."""
    return torch.nn.functional.one_hot(torch.from_numpy(y.astype(np.int64)), count).float()


def one_hot_or_zero(y: Int64[np.ndarray, "row"], count: int, unknown: int | None = None) -> Tensor:
    """The same with a row of zeros where there is no label: −1, or the class that stands for none."""
    known = (y != UNLABELLED) & (y != (UNLABELLED if unknown is None else unknown))
    return one_hot(np.where(known, y, 0), count) * torch.from_numpy(known)[:, None]


def number_of_unknown(classes: Sequence[str] | None) -> int | None:
    """The number of the class "unknown", in capitals or not; None if there is none.

    >>> number_of_unknown(("B", "T", "Unknown"))
    2
    """
    return next((i for i, name in enumerate(classes or ()) if name.casefold() == "unknown"), None)


def only_some(y: np.ndarray, count: int, seed: int, name: str) -> np.ndarray:
    """The labels (N,) of `count` rows, spread evenly over the classes (±1); −1 for all other rows.

    Arguments:
        y: class numbers (N,), −1 where there is none.
        count: labels to keep.
        seed: of the choice.
        name: of the data, for the message.

    Raises:
        DataError: fewer labels than classes, or more than a class has rows.
    """
    classes, sizes = np.unique(y[y != UNLABELLED], return_counts=True)
    share, more = divmod(count, len(classes))
    if share < 1 or share + (more > 0) > sizes.min():
        raise DataError(
            f"{count} labels were asked for and {name} has {len(classes)} classes of {sizes.min()} rows or more; "
            f"ask for {len(classes)} to {len(classes) * sizes.min()}."
        )
    order = np.random.default_rng(seed).permutation(len(y))
    kept = [order[y[order] == c][: share + (i < more)] for i, c in enumerate(classes)]
    result = np.full(len(y), UNLABELLED, dtype=np.int64)
    for rows in kept:
        result[rows] = y[rows]
    return result


def class_named(word: str, count: int, label_names: Sequence[str] | None) -> int:
    """The number of a class, from its name or its number.

    Raises:
        ValueError: there is no such class.
    """
    names = [str(i) for i in range(count)] if label_names is None else list(label_names)
    if word not in names:
        raise ValueError(f"There is no class {word!r}; choose one of {', '.join(names[:20])}.")
    return names.index(word)
