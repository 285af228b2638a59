"""Columns of which most values are written with fewer digits than their finest: 57, 58, 55, and one in a hundred 56.4.

    share of values that k digits suffice for = a + (1 − a) 10^(k − d)        d: the most digits that were seen

a is the share that is recorded to k digits, if finer values are finely spread. Draws of a model that are all rounded to
d digits are told from such data at a glance; the same share of them is rounded to k.
"""

from __future__ import annotations

import numpy as np

from lowerbound.data.schema import Column, Schema
from lowerbound.data.sparse import Array

__all__ = ["as_recorded", "usual_digits"]

_LEAST_SHARE, _MOST_ROWS = 0.5, 100_000


def usual_digits(x: Array, decimals: int | None) -> tuple[int, float] | None:
    """The fewest digits k below d to which half of the values (N,) or more are recorded, and their share a.

    Arguments:
        x: values, NaN where missing; at most 100,000 are looked at.
        decimals: d; None if there is no limit.

    >>> usual_digits(np.array([57.0, 58.0, 55.0, 56.4, 61.0, 60.0]), 1)[0]
    0
    """
    if not decimals:
        return None
    values = np.asarray(x[:: max(1, len(x) // _MOST_ROWS)], dtype=np.float64)
    values = values[~np.isnan(values)]
    for digits in range(decimals):
        chance = 10.0 ** (digits - decimals)
        share = (float((np.round(values, digits) == values).mean()) - chance) / (1 - chance)
        if share >= _LEAST_SHARE:
            return digits, min(1.0, share)
    return None


def as_recorded(x: np.ndarray, schema: Schema, seed: int) -> np.ndarray:
    """Stored draws (..., D) of which each column is rounded as often, and as far, as the values of the fit were."""
    columns = schema.columns or ()
    coarse = [i for i, column in enumerate(columns) if column.usual_decimals is not None]
    if not coarse:
        return x
    found, g = x.copy(), np.random.default_rng(seed)
    for i in coarse:
        found[..., i] = _rounded(found[..., i], columns[i], g)
    return found


def _rounded(x: np.ndarray, column: Column, g: np.random.Generator) -> np.ndarray:
    assert column.usual_decimals is not None
    assert column.usual_share is not None
    rounded = np.round(x, column.usual_decimals)
    taken = g.random(x.shape) < column.usual_share
    if column.low is not None and column.low > 0:
        taken &= rounded > 0  # which a positive column must stay
    return np.where(taken, rounded, x)
