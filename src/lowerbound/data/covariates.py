"""Covariates: columns that a model is given and does not model, such as the batch of a cell or the age of its donor.

    c_n = (e_batch, …, (age_n − mean) / standard deviation, …)

A category is a one-hot vector and a number is standardised over the rows of the fit. Text, booleans and categoricals
are categories, and so are whole numbers with at most 20 different values; other numbers are numbers. Categories are
matched by name, so that one that the fit has not seen is refused, and so is a missing value: a model that is given a
covariate needs it of every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.data.checks import check_column
from lowerbound.data.errors import DataError, clipped, nearest
from lowerbound.data.labels import label_values, number_text

if TYPE_CHECKING:
    from lowerbound.data.contents import Contents

__all__ = [
    "Covariate",
    "OpenCovariate",
    "batch_of",
    "close_covariates",
    "covariate_numbers",
    "drawn_covariates",
    "encode_covariates",
    "infer_covariates",
    "names_of_covariates",
    "with_covariates",
    "words_of",
]

_MOST_OF_WHOLE_NUMBERS, _MOST_CATEGORIES, _ROWS_OF_A_CATEGORY = 20, 1000, 2


@dataclass(frozen=True, kw_only=True)
class Covariate:
    """A column that a model is given.

    Attributes:
        name: as the user wrote it.
        categories: its values as text, in the order of their numbers; None for numbers.
        shares: the fraction of the rows of the fit in each category.
        mean: of numbers, over the rows of the fit.
        scale: their standard deviation.
    """

    name: str
    categories: tuple[str, ...] | None = None
    shares: tuple[float, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        """How many numbers of the context it takes: one for each category, or 1."""
        return 1 if self.categories is None else len(self.categories)

    def with_first(self, count: int) -> Covariate:
        """The same with only so many of its categories."""
        return self if self.categories is None else replace(self, categories=self.categories[:count])


@dataclass(frozen=True, kw_only=True)
class OpenCovariate(Covariate):
    """A covariate with categories to which those that data hold besides are added, where data are read for a fit."""

    @classmethod
    def of(cls, covariate: Covariate) -> OpenCovariate:
        """The same covariate, open."""
        return cls(**{one.name: getattr(covariate, one.name) for one in fields(covariate)})

    def closed(self, column: np.ndarray, what: str) -> Covariate:
        """With the categories that the rows of a fit hold (N,) after the known ones, and the shares in these rows."""
        assert self.categories is not None
        texts = _texts(_complete(label_values(column, _called(self.name, what)), self.name, what))
        names = (*self.categories, *sorted(set(texts.tolist()) - set(self.categories)))
        counts = [float((texts == name).mean()) for name in names]
        return Covariate(name=self.name, categories=names, shares=tuple(counts))


def batch_of(covariates: Sequence[Covariate]) -> Covariate | None:
    """The batch: the first covariate with categories; None if there is none."""
    return next((one for one in covariates if one.categories is not None), None)


def close_covariates(
    covariates: Sequence[Covariate], columns: Mapping[str, np.ndarray], what: str
) -> tuple[Covariate, ...]:
    """Covariates of which those that are open have the categories of these columns (N,) too.

    Raises:
        DataError: a value is missing.
    """
    return tuple(
        one.closed(columns[one.name], what) if isinstance(one, OpenCovariate) and one.name in columns else one
        for one in covariates
    )


def infer_covariates(columns: Mapping[str, np.ndarray], what: str) -> tuple[Covariate, ...]:
    """What the columns of the data of a fit hold.

    Arguments:
        columns: values (N,) by name.
        what: the name of the data in messages.

    Raises:
        DataError: a value is missing, or a column has one value only or a text for each row.
    """
    return tuple(_inferred(values, name, what) for name, values in columns.items())


def covariate_numbers(
    columns: Mapping[str, np.ndarray], covariates: Sequence[Covariate], what: str
) -> Float[np.ndarray, "row covariate"]:
    """The number of the category, or the value, of each covariate in each row.

    Raises:
        DataError: a covariate or a value is missing, a category was not seen in the fit, or text stands for a number.
    """
    for covariate in covariates:
        if covariate.name not in columns:
            raise DataError(
                f"{what} has no covariate '{clipped(covariate.name, 40)}', which the model is given; name one value "
                f"for all rows with covariates={{'{clipped(covariate.name, 40)}': VALUE}} (--covariates NAME=VALUE)."
            )
    batch = batch_of(covariates)
    return np.stack([_numbers(columns[one.name], one, what, is_batch=one is batch) for one in covariates], 1)


def encode_covariates(
    numbers: Float[np.ndarray, "row covariate"], covariates: Sequence[Covariate]
) -> Float[Tensor, "row context"]:
    """Covariates as a model takes them: one-hot categories and standardised numbers, side by side."""
    parts = [
        (x[:, None] - covariate.mean) / covariate.scale
        if covariate.categories is None
        else np.eye(covariate.size)[x.astype(np.int64)]
        for x, covariate in zip(numbers.T, covariates, strict=True)
    ]
    return torch.from_numpy(np.concatenate(parts, 1)).float()


def drawn_covariates(
    covariates: Sequence[Covariate], count: int, given: Mapping[str, Any], seed: int
) -> Float[np.ndarray, "row covariate"]:
    """Covariates of rows that are to be drawn: the given ones; categories by their shares; numbers at their mean.

    Each is drawn on its own, whatever its dependence on others in the data.

    Raises:
        DataError: a name or a value that the fit does not know.
    """
    for name in given:
        check_column(name, [covariate.name for covariate in covariates], "the list of covariates")
    rng = np.random.default_rng(seed)
    columns = []
    for covariate in covariates:
        if covariate.name in given:
            value = np.full(count, given[covariate.name], dtype=object)
            columns.append(_numbers(value, covariate, "what is given"))
        elif covariate.categories is None:
            columns.append(np.full(count, covariate.mean))
        else:
            columns.append(rng.choice(covariate.size, count, p=np.array(covariate.shares)).astype(np.float64))
    return np.stack(columns, 1)


def names_of_covariates(said: str | Sequence[str]) -> tuple[str, ...]:
    """The names of columns that a user says, of which a str is one.

    >>> names_of_covariates("batch"), names_of_covariates(["batch", "age"])
    (('batch',), ('batch', 'age'))
    """
    return (said,) if isinstance(said, str) else tuple(said)


def with_covariates(contents: Contents, names: Sequence[str]) -> Contents:
    """Take columns out of the rows of a table.

    Raises:
        DataError: the rows are no table with these columns.
    """
    frame: Any = contents.x
    if not hasattr(frame, "columns"):
        raise DataError(
            f"covariates '{clipped(', '.join(names))}' were given and {contents.what} has no such columns; give a "
            "table, or cells with obs."
        )
    from lowerbound.data.tables import values_of_column

    for name in names:
        check_column(name, frame.columns, contents.what)
    columns = {name: values_of_column(frame[name]) for name in names}
    test = None if contents.x_test is None else contents.x_test.drop(columns=list(names))  # pyright: ignore
    return replace(contents, x=frame.drop(columns=list(names)), x_test=test, covariates=columns)


def words_of(covariate: Covariate) -> str:
    """The name of a covariate and what it holds.

    >>> words_of(Covariate(name="batch", categories=("a", "b"), shares=(0.5, 0.5)))
    'batch (2 categories)'
    """
    return f"{covariate.name} ({f'{covariate.size} categories' if covariate.categories else 'numbers'})"


def _inferred(column: np.ndarray, name: str, what: str) -> Covariate:
    values = _complete(label_values(column, _called(name, what)), name, what)
    distinct, counts = np.unique(values.astype(str) if values.dtype == object else values, return_counts=True)
    if len(distinct) < 2:
        raise DataError(f"{_called(name, what)} has one value only ({distinct[0]}); leave it out.")
    whole = values.dtype.kind == "f" and bool((values == np.round(values)).all())
    if values.dtype.kind == "f" and not (whole and len(distinct) <= _MOST_OF_WHOLE_NUMBERS):
        return Covariate(name=name, mean=float(values.mean()), scale=float(values.std()))
    if len(distinct) > min(_MOST_CATEGORIES, len(values) / _ROWS_OF_A_CATEGORY):
        raise DataError(
            f"{_called(name, what)} has {len(distinct):,} categories in {len(values):,} rows, too few rows for each; "
            "name a column with fewer."
        )
    names = tuple(number_text(value) if whole else str(value) for value in distinct)
    return Covariate(name=name, categories=names, shares=tuple((counts / counts.sum()).tolist()))


def _numbers(column: np.ndarray, covariate: Covariate, what: str, *, is_batch: bool = False) -> np.ndarray:
    called = _called(covariate.name, what)
    values = _complete(label_values(column, called), covariate.name, what)
    if covariate.categories is None:
        return _as_floats(values, called)
    texts = _texts(values)
    known = {name: float(number) for number, name in enumerate(covariate.categories)}
    unseen = next((text for text in dict.fromkeys(texts.tolist()) if text not in known), None)
    if unseen is not None:
        near = ", ".join(repr(clipped(name, 30)) for name in nearest(unseen, known))
        raise DataError(
            f"{called} holds {clipped(unseen, 40)!r}, which the fit has not seen (it knows {near}); read these rows as "
            f"of a known one with covariates={{'{clipped(covariate.name, 30)}': VALUE}} (--covariates NAME=VALUE)"
            f"{', or fit them from this model (--from RUN), which learns what a new batch adds' if is_batch else ''}."
        )
    return np.array([known[text] for text in texts.tolist()], dtype=np.float64)


def _texts(values: np.ndarray) -> np.ndarray:
    return values.astype(str) if values.dtype.kind != "f" else np.array([number_text(value) for value in values])


def _as_floats(values: np.ndarray, called: str) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        raise DataError(f"{called} holds {clipped(str(values[0]), 40)!r} and the fit had numbers; give them.") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{called} holds a number that is not finite; give finite ones.")
    return numbers


def _complete(values: np.ndarray, name: str, what: str) -> np.ndarray:
    """The values, if none is missing.

    Raises:
        DataError: naming the first row without one.
    """
    missing = np.array([value is None for value in values]) if values.dtype == object else np.isnan(values)
    if missing.any():
        raise DataError(
            f"{_called(name, what)} is missing at row {int(np.flatnonzero(missing)[0])}; the model needs it of "
            "every row: fill it, or leave such rows out."
        )
    return values


def _called(name: str, what: str) -> str:
    return f"the covariate '{clipped(name, 40)}' of {what}"
