"""Whether N numbers are uniform on [0, 1]: simultaneous bands of their distribution function, exactly.

At points t_1 < … < t_K the counts C_k = N F(t_k) of uniform numbers are Binomial(N, t_k), each with the two-sided
p-value

    p_k = min(1, 2 min(P(C ≤ C_k), P(C ≥ C_k)))

The band of a level 1 − α holds the counts with p_k > γ, with the largest γ such that a uniform sample stays within it
at all K points with a probability of at least 1 − α (Säilynoja, Bürkner & Vehtari 2022, arXiv:2103.10522). Their γ is
simulated, or found for one formula; here that probability is computed by the chain of counts,

    C_{k+1} − C_k | C_k ~ Binomial(N − C_k, (t_{k+1} − t_k) / (1 − t_k))

so that levels are exact up to the steps of the counts, and p-values are P(min_k p_k ≤ the smallest one seen). The
points are 1/K, …, (K − 1)/K. Of J curves each has the band of α / J (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import gammaln
from scipy.stats import binom

from lowerbound.cited import cited

__all__ = ["Band", "above_uniform", "ecdf_band", "uniformity_p_values"]

NUM_POINTS = 64
_CERTAIN = 1e-6  # below it a p-value need not be exact, and bands are so wide that it would take long


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Within which the distribution function of uniform numbers stays.

    Attributes:
        points: t (K − 1,).
        lower: the least F(t) within the band.
        upper: the largest.
    """

    points: Float64[np.ndarray, "point"]
    lower: Float64[np.ndarray, "point"]
    upper: Float64[np.ndarray, "point"]


@cited("sailynoja2022graphical")
def ecdf_band(num_values: int, *, level: float = 0.95, num_curves: int = 1, num_points: int = NUM_POINTS) -> Band:
    """The simultaneous band of F for samples of a size.

    Arguments:
        num_values: N.
        level: 1 − α, the probability with which all curves of uniform numbers stay within it, at least.
        num_curves: J.
        num_points: K; fewer for small N, of which nothing is seen at finer points.

    Raises:
        ValueError: no values, or a level that is not between 0 and 1.
    """
    if num_values < 1 or not 0 < level < 1:
        raise ValueError(f"ecdf_band got num_values={num_values} and level={level}; expected N ≥ 1 and 0 < level < 1.")
    points = _points(num_values, num_points)
    low, high = _bounds(_table(num_values, len(points)), _threshold(num_values, len(points), (1 - level) / num_curves))
    return Band(points=points, lower=low / num_values, upper=high / num_values)


def above_uniform(
    values: Float64[np.ndarray, "row"], points: Float64[np.ndarray, "point"]
) -> Float64[np.ndarray, "point"]:
    """F(t) − t of numbers at points t, as pictures show it.

    >>> above_uniform(np.array([0.1, 0.2]), np.array([0.15, 0.5]))
    array([0.35, 0.5 ])
    """
    return (values[:, None] <= points).mean(0) - points


def uniformity_p_values(
    values: Float64[np.ndarray, "row quantity"], *, num_points: int = NUM_POINTS
) -> Float64[np.ndarray, "quantity"]:
    """For each quantity the probability that uniform numbers leave as narrow a band as its own do.

    Arguments:
        values: N numbers in [0, 1] of each quantity.
        num_points: K, as for `ecdf_band`.

    Raises:
        ValueError: no numbers.

    >>> uniformity_p_values(np.stack([(np.arange(40) + 0.5) / 40, np.full(40, 0.9)], 1))
    array([1., 0.])
    """
    if not len(values):
        raise ValueError("uniformity_p_values got no values and needs at least one.")
    points = _points(len(values), num_points)
    table = _table(len(values), len(points))
    counts = (values[:, None] <= points[:, None]).sum(0)  # (point, quantity)
    smallest = np.take_along_axis(table, counts, 1).min(0)
    known = {p: _leaves(len(values), table, p) for p in set(smallest.tolist())}
    return np.clip([known[p] for p in smallest.tolist()], 0.0, 1.0)


def _points(num_values: int, num_points: int) -> Float64[np.ndarray, "point"]:
    size = max(2, min(num_points, num_values))
    return np.arange(1, size) / size


@lru_cache(maxsize=8)
def _table(num_values: int, num_points: int) -> Float64[np.ndarray, "point count"]:
    """p of each count 0, …, N at each point."""
    points, counts = np.arange(1, num_points + 1)[:, None] / (num_points + 1), np.arange(num_values + 1)
    below, above = binom.cdf(counts, num_values, points), binom.sf(counts - 1, num_values, points)
    return np.minimum(1, 2 * np.minimum(below, above))


def _bounds(
    table: Float64[np.ndarray, "point count"], threshold: float
) -> tuple[Int64[np.ndarray, "point"], Int64[np.ndarray, "point"]]:
    """The smallest and the largest count at each point whose p is above the threshold; low > high where none is."""
    kept = table > threshold
    none = ~kept.any(1)
    low, high = kept.argmax(1), table.shape[1] - 1 - kept[:, ::-1].argmax(1)
    return np.where(none, 1, low), np.where(none, 0, high)


@lru_cache(maxsize=64)
def _threshold(num_values: int, num_points: int, alpha: float) -> float:
    """γ, by bisection over the values that p takes."""
    table = _table(num_values, num_points)
    choices = np.unique(np.append(table[table <= alpha], 0.0))
    first, last = 0, len(choices) - 1  # the first is sure to do: nothing has p ≤ 0
    while first < last:
        middle = (first + last + 1) // 2
        if 1 - _stays_inside(num_values, *_bounds(table, choices[middle])) <= alpha:
            first = middle
        else:
            last = middle - 1
    return float(choices[first])


def _leaves(num_values: int, table: Float64[np.ndarray, "point count"], threshold: float) -> float:
    """P(min_k p_k ≤ threshold); for very small ones its bound by the sum over points."""
    if threshold * len(table) < _CERTAIN:
        return threshold * len(table)
    return 1 - _stays_inside(num_values, *_bounds(table, threshold))


def _stays_inside(num_values: int, low: np.ndarray, high: np.ndarray) -> float:
    """P(low_k ≤ C_k ≤ high_k for all k) of uniform numbers."""
    if bool((low > high).any()):
        return 0.0
    log_factorial = gammaln(np.arange(num_values + 1) + 1.0)
    share = 1 / (len(low) + 1 - np.arange(len(low)))  # (t_{k+1} − t_k) / (1 − t_k)
    before, probability = np.array([0]), np.array([1.0])
    for k, p in enumerate(share):
        after = np.arange(low[k], high[k] + 1)
        steps, left = after - before[:, None], num_values - after
        ways = log_factorial[num_values - before][:, None] - log_factorial[np.maximum(steps, 0)] - log_factorial[left]
        chance = np.where(steps >= 0, np.exp(ways + steps * np.log(p) + left * np.log1p(-p)), 0.0)
        before, probability = after, probability @ chance
    return float(probability.sum())
