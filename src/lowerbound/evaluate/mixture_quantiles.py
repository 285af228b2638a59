"""Quantiles of distributions whose cumulative function F is known: inf {v : F(v) ≥ level}, by bisection of all at once.

Bisection ends at neighbouring numbers of double precision, so that a quantile of whole numbers is a whole number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

__all__ = ["quantiles_of"]

_MOST_STEPS = 2200  # doublings of a bracket and halvings of it, over all numbers of double precision


def quantiles_of(
    cumulative: Callable[[Float[np.ndarray, "*shape"]], Float[np.ndarray, "*shape"]],
    level: float,
    centre: Float[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """The smallest value of each distribution up to which there is a probability of at least `level`.

    Arguments:
        cumulative: F of each distribution at one value each.
        level: between 0 and 1.
        centre: where the search begins, such as the means.

    >>> from scipy.special import ndtr
    >>> quantiles_of(ndtr, 0.975, np.zeros(1)).round(6).tolist()
    [1.959964]
    """
    low, high = _bracket(cumulative, level, centre.astype(np.float64))
    at_zero = (low < 0) & (high > 0) & (cumulative(np.zeros_like(low)) >= level)
    at_zero &= cumulative(np.full_like(low, -np.finfo(np.float64).tiny)) < level
    low, high = np.where(at_zero, 0.0, low), np.where(at_zero, 0.0, high)
    for _ in range(_MOST_STEPS):
        middle = low + (high - low) / 2
        inside = (middle > low) & (middle < high)
        if not inside.any():
            break
        reached = cumulative(middle) >= level
        high, low = np.where(inside & reached, middle, high), np.where(inside & ~reached, middle, low)
    return high


def _bracket(
    cumulative: Callable[[np.ndarray], np.ndarray], level: float, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values below and at or above the quantile, as near to the centre as doubling a distance finds them."""
    unit = np.maximum(np.abs(centre), 1.0)
    low, high = centre - unit, centre + unit
    for _ in range(_MOST_STEPS):
        above, below = cumulative(low) >= level, cumulative(high) < level
        if not (above | below).any():
            break
        low, high = np.where(above, low - (high - low), low), np.where(below, high + (high - low), high)
    return low, high
