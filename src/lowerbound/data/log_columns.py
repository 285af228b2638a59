"""Which columns of a table are modelled by their logarithm.

Incomes, areas and concentrations are above 0 and have a long tail. A mixture of Gaussians of their logarithm is closer
to them, and its draws are above 0 as the data are. The density of a row is that of its logarithms, divided by the
product of the values, so that scores stay in nats per unit of the columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lowerbound.data.columns import tails_of
from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError, clipped

__all__ = ["AUTO", "log_columns", "skewed"]

AUTO, _NONE = "auto", "none"
_REAL = ("continuous", "positive")
_MOST_ROWS, _FEWEST_ROWS, _STANDARD_ERRORS = 100_000, 20, 2.0


def skewed(x: np.ndarray) -> bool:
    """Whether values (N,), NaN where missing, are all above 0, have a tail to the right, and less of one as logarithms.

    The skewness exceeds two standard errors √(6/N) of that of a Gaussian sample, and that of the logarithms is smaller.

    >>> rng = np.random.default_rng(0)
    >>> skewed(rng.lognormal(size=200)), skewed(rng.normal(9.0, 1.0, size=200)), skewed(rng.exponential(size=200) - 0.1)
    (True, False, False)
    """
    found = tails_of(x)
    if found is None or found.number < _FEWEST_ROWS:
        return False
    return abs(found.logarithms) < found.values and found.values > _STANDARD_ERRORS * math.sqrt(6 / found.number)


def log_columns(dataset: Dataset, said: str | Sequence[str]) -> tuple[str, ...]:
    """The names of columns whose logarithm is modelled.

    Arguments:
        dataset: whose training rows decide.
        said: their names; "auto" for those that are `skewed`, "none" for none.

    Raises:
        DataError: data without columns, an unknown name, or a column with other than positive numbers.
    """
    words = [said] if isinstance(said, str) else list(said)
    columns, known = dataset.schema.columns or (), dataset.schema.column_names or ()
    if words == [AUTO]:
        some = _some_rows(dataset)
        return tuple(
            column.name
            for i, column in enumerate(columns)
            if column.kind in _REAL and (column.low or 0) > 0 and skewed(some[:, i])
        )
    if words in ([], [_NONE]):
        return ()
    for name in words:
        if name not in known:
            shown = (
                ", ".join(other[:30] for other in known[:5]) or f"no columns, as it is of kind {dataset.schema.kind}"
            )
            raise DataError(f"log_columns names {clipped(name)!r}; {dataset.name} has {shown}.")
        column = columns[known.index(name)]
        if column.kind not in _REAL or not (column.low or 0) > 0:
            raise DataError(
                f"log_columns names '{clipped(name)}', which is {column.kind} from {column.low:g}; a logarithm needs "
                "numbers above 0: leave it out."
            )
    return tuple(name for name in known if name in words)


def _some_rows(dataset: Dataset) -> np.ndarray:
    """Training rows, evenly spaced, in one pass over a memory map."""
    rows = np.arange(len(dataset.x_train)) if dataset.train_rows is None else dataset.train_rows
    return np.asarray(dataset.x_train[rows[:: max(1, len(rows) // _MOST_ROWS)]])
