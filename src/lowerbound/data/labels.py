"""Labels in the form that the user gave, and as numbers.

A class is known by its name, the text of the label, and numbered in sorted order: that of numbers for numbers, of the
alphabet for text. The names come from the file of a fit and are kept in the schema. Labels of other data are matched by
name, so that a class has the same number even if another class is missing, and a new class is refused.

Text, booleans and whole numbers are classes, for every type of storage. Numbers with a fraction are
measurements, and so are more than 1,000 different numbers; they keep their values. A missing label, or the
number −1, means no label and becomes −1, as in scikit-learn. A file and numpy make the text "-1" of that number where
it stands among words, so that it means none there too; among texts that all spell numbers it is a class.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from lowerbound.data.errors import DataError, nearest
from lowerbound.data.plain import plain

__all__ = [
    "MOST_CLASSES",
    "UNLABELLED",
    "array_of_labels",
    "class_names",
    "is_missing",
    "label_values",
    "number_text",
    "numbered",
    "spells_a_number",
]

UNLABELLED = -1
"""The value of an unknown label, as in scikit-learn."""

MOST_CLASSES = 1000


def number_text(value: float | np.number) -> str:
    """A number as text, the same for every type in which it is stored.

    >>> number_text(3.0), number_text(0.25)
    ('3', '0.25')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def spells_a_number(text: str) -> bool:
    """Whether a text is a number, in the way of Python.

    >>> spells_a_number("-1e3"), spells_a_number("nan"), spells_a_number("one")
    (True, True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def array_of_labels(y: Any) -> np.ndarray:
    """Labels as a user gives them, as an array.

    Among text NaN and −1 are missing, and so is their text where it stands among words: "nan" in an array, of which
    numpy has made it, and "-1".

    >>> array_of_labels(["a", float("nan"), -1, "b"]), array_of_labels([1, -1])
    (array(['a', None, None, 'b'], dtype=object), array([ 1, -1]))
    >>> array_of_labels(np.array(["a", -1])), array_of_labels(np.array(["1", "-1"]))
    (array(['a', None], dtype=object), array(['1', '-1'], dtype='<U2'))
    """
    given = y if isinstance(y, list | tuple) else np.asarray(plain(y))
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OU":
        return given
    values = given.tolist() if isinstance(given, np.ndarray) else given
    none: set[object] = {UNLABELLED}
    if isinstance(given, np.ndarray) and given.dtype.kind == "U":
        if not _hold_words(values):
            return given
        none |= {str(UNLABELLED), "nan"}
    elif not any(isinstance(value, str) for value in values):
        return np.asarray(given)
    elif _hold_words(values):
        none.add(str(UNLABELLED))
    return np.array([None if is_missing(value) or value in none else value for value in values], dtype=object)


def _hold_words(values: Iterable[object]) -> bool:
    """Whether some are text that is no number, among which "-1" means no label."""
    return any(isinstance(value, str) and not is_missing(value) and not spells_a_number(value) for value in values)


def label_values(y: np.ndarray, name: str) -> np.ndarray:
    """Labels (N,) as float64 with NaN where missing, as booleans, or as objects: text, None where missing.

    Raises:
        DataError: labels that are neither numbers nor text.
    """
    if y.dtype.kind in "iuf":
        return y.astype(np.float64)
    if y.dtype.kind == "b":
        return y
    if y.dtype.kind not in "OUT":
        raise DataError(f"{name} has type {y.dtype}; expected numbers or text: convert it first.")
    values = [None if is_missing(value) else value for value in y.tolist()]
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool | np.bool_) for value in present) and len(present) == len(values):
        return np.array(values, dtype=bool)
    if present and all(isinstance(value, int | float | np.number | Decimal) for value in present):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array([None if value is None else str(value) for value in values], dtype=object)


def class_names(values: np.ndarray, name: str) -> tuple[str, ...] | None:
    """The names of the classes in the order of their numbers; None if the labels are measurements.

    >>> class_names(np.array([5.0, 1.0, np.nan, -1.0, 12.0]), "y")
    ('1', '5', '12')

    Arguments:
        values: as `label_values` gives them.
        name: of the labels, for messages.

    Raises:
        DataError: more than 1,000 different texts.
    """
    if values.dtype == bool:
        return tuple(str(bool(value)) for value in np.unique(values))
    if values.dtype == object:
        names = sorted({value for value in values if value is not None})
        if len(names) > MOST_CLASSES:
            raise DataError(
                f"{name} hold {len(names):,} different texts; classes are at most {MOST_CLASSES:,}: name another label."
            )
        return tuple(names)
    present = values[~np.isnan(values)]
    if not bool(np.isfinite(present).all()) or bool((present != np.round(present)).any()):
        return None
    distinct = np.unique(present[present != UNLABELLED])
    return None if len(distinct) > MOST_CLASSES else tuple(number_text(value) for value in distinct)


def numbered(values: np.ndarray, classes: tuple[str, ...] | None, name: str) -> np.ndarray:
    """The number of each label's class, int64, −1 where there is no label; measurements as float32.

    Arguments:
        values: as `label_values` gives them.
        classes: names of the classes, or None for measurements.
        name: of the labels, for messages.

    Raises:
        DataError: a class that is not among them, or a missing measurement.
    """
    if classes is None:
        return _measured(values, name)
    distinct, codes = _coded(values)
    known: dict[str | None, int] = {None: UNLABELLED, **{text: number for number, text in enumerate(classes)}}
    known.setdefault(str(UNLABELLED), UNLABELLED)
    unseen = [text for text in distinct if text is not None and text not in known]
    if unseen:
        row = int(np.flatnonzero(codes == distinct.index(unseen[0]))[0])
        near = ", ".join(repr(text[:40]) for text in nearest(unseen[0], classes))
        raise DataError(
            f"{name} hold the class {unseen[0][:40]!r} at row {row}, which the model has not seen; it knows "
            f"{len(classes)}, such as {near}: leave such rows out."
        )
    return np.array([known[text] for text in distinct], dtype=np.int64)[codes]


def _coded(values: np.ndarray) -> tuple[list[str | None], np.ndarray]:
    """The different labels as text, None for missing ones, and which of them each row has."""
    if values.dtype == object:
        distinct = list(dict.fromkeys(values.tolist()))
        place = {text: i for i, text in enumerate(distinct)}
        return distinct, np.array([place[text] for text in values.tolist()], dtype=np.int64)
    if values.dtype == bool:
        return ["False", "True"], values.astype(np.int64)
    found, codes = np.unique(values, return_inverse=True)
    texts = [None if np.isnan(value) else number_text(value) for value in found]
    return texts, codes.reshape(values.shape)


def _measured(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == object:
        raise DataError(
            f"{name} holds text such as {next(iter(values))!r:.40}; the model knows measurements: give them."
        )
    missing = np.flatnonzero(~np.isfinite(values.astype(np.float64)))
    if len(missing):
        raise DataError(
            f"{name} hold {len(missing)} missing or unusable labels, the first at row {missing[0]}; fill them or leave "
            "out those rows."
        )
    return values.astype(np.float32)


def is_missing(value: object) -> bool:
    """Whether a value is blank text, None, NaN, pandas.NA or NaT: these do not equal themselves, or fail to compare."""
    if isinstance(value, str):
        return not value.strip()
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return True
