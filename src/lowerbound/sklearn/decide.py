"""What "auto" stands for, given the rows: the likelihood, the binarization and the standardisation; and whole numbers.

A likelihood is told by its class and not by the words of the user, for "Bernoulli" and "bernoulli" name the same one.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lowerbound import likelihoods
from lowerbound.data.transform import Binarization
from lowerbound.sklearn.columns import Columns
from lowerbound.spelling import find, parse

__all__ = ["decide_binarization", "decide_columns", "decide_likelihood", "whole"]

_ON_THE_REAL_LINE = ("Normal", "Laplace", "StudentT")
"""Likelihoods that are of the same kind after any shift and scale of the data."""


def decide_likelihood(likelihood: str, X: np.ndarray) -> str:
    """The text of the likelihood: as asked for, or Bernoulli for values in [0, 1] and normal for others.

    >>> decide_likelihood("auto", np.array([[0.0, 1.0]])), decide_likelihood("auto", np.array([[0.0, 2.0]]))
    ('bernoulli', 'normal')
    """
    if likelihood == "auto":
        return "bernoulli" if X.min() >= 0 and X.max() <= 1 else "normal"
    name = parse(likelihood)[0]
    return likelihood.replace(name, "bernoulli", 1) if _class_name(likelihood) == "Bernoulli" else likelihood


def decide_binarization(binarization: Binarization | Literal["auto"], likelihood: str, X: np.ndarray) -> Binarization:
    """How values in [0, 1] become 0 or 1: by chance where some lie between, and only under a Bernoulli likelihood.

    Raises:
        ValueError: a binarization was asked for and the likelihood is another.
    """
    bernoulli = _class_name(likelihood) == "Bernoulli"
    if binarization == "auto":
        return "dynamic" if bernoulli and bool(((X != 0) & (X != 1)).any()) else "none"
    if binarization != "none" and not bernoulli:
        raise ValueError(
            f"binarization is {binarization!r} and the likelihood {likelihood!r}; only 'bernoulli' takes 0 and 1: "
            "leave binarization='auto'."
        )
    return binarization


def decide_columns(
    standardize: bool | Literal["auto"], likelihood: str, X: np.ndarray, names: Sequence[str] | None
) -> Columns:
    """The columns that the model is fitted to; "auto" standardises under a likelihood on the whole real line.

    Raises:
        ValueError: a column to standardise is constant.
    """
    if standardize == "auto":
        standardize = _class_name(likelihood) in _ON_THE_REAL_LINE
    return Columns.measured(X, names) if standardize else Columns.as_they_are(X.shape[1])


def whole(name: str, value: Any) -> int:
    """A number of things as an int: searches over parameters also give NumPy's integers.

    Raises:
        ValueError: it is not a whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; expected a whole number: give an int.") from None


def _class_name(likelihood: str) -> str:
    return find(likelihoods, parse(likelihood)[0]).__name__
