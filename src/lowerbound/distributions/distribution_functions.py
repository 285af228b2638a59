"""F(value) = P(x ≤ value) of families of one number, in float64, with the same result wherever an element stands.

Coding needs the very same bits of F when it decodes a column as when it encoded the whole batch. Vectorised logarithms
and exponentials of torch may round the last elements of an array in another way than the others; functions of
`scipy.special` treat every element alone. Sums along an axis are cumulative, in order.

Every function takes the value first and the parameters after it, as arrays that broadcast.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

__all__ = [
    "bernoulli",
    "laplace",
    "level",
    "log_normal",
    "mixture_of_levels",
    "mixture_of_normals",
    "negative_binomial",
    "normal",
    "poisson",
    "student_t",
    "table",
    "table_with_tail",
    "zero_inflated",
]  # fmt: skip


def normal(value: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Φ((value − μ) / σ).

    >>> normal(np.array([1.0]), np.array([1.0]), np.array([2.0])).tolist()
    [0.5]
    """
    return special.ndtr((value - loc) / scale)


def log_normal(value: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Φ((log value − μ) / σ), 0 where value is not positive."""
    inside = value > 0
    # x log y of scipy.special treats every element alone, as log of numpy need not
    return np.where(inside, special.ndtr((special.xlogy(1.0, np.where(inside, value, 1.0)) - loc) / scale), 0.0)


def laplace(value: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """½ e^t below the location, 1 − ½ e^−t above it, t = (value − μ) / b."""
    t = (value - loc) / scale
    tail = 0.5 * special.expm1(-np.abs(t)) + 0.5
    return np.where(t < 0, tail, 1 - tail)


def student_t(value: np.ndarray, loc: np.ndarray, scale: np.ndarray, df: np.ndarray) -> np.ndarray:
    """That of Student's t with df degrees of freedom at (value − μ) / s."""
    return special.stdtr(df, (value - loc) / scale)


def bernoulli(value: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """1 − π at 0, 1 at 1."""
    return np.where(value < 1, special.expit(-logits), 1.0)


def level(value: np.ndarray, loc: np.ndarray, scale: np.ndarray, num_levels: np.ndarray) -> np.ndarray:
    """That of a logistic variable discretized to K levels in [0, 1]; location and scale where they run from −1 to 1."""
    top = num_levels - 1
    end = np.rint(value * top)
    for of_all, by in ((np.multiply, 2.0), (np.add, 1.0), (np.divide, top), (np.subtract, 1.0)):
        of_all(end, by, out=end)  # most of the time of decoding pictures is spent here
    found = end - loc
    found /= scale
    special.expit(found, out=found)
    np.copyto(found, 1.0, where=end > 1)
    return found


def mixture_of_levels(
    value: np.ndarray, weight: np.ndarray, loc: np.ndarray, scale: np.ndarray, num_levels: np.ndarray
) -> np.ndarray:
    """Σ_m π_m F_m, F_m as in `level`, components on the last axis of the parameters."""
    return _summed(weight * level(value[..., None], loc, scale, num_levels[..., None]))


def mixture_of_normals(value: np.ndarray, weight: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Σ_k π_k Φ((value − μ_k) / σ_k), components on the last axis of the parameters."""
    return _summed(weight * normal(value[..., None], loc, scale))


def table(value: np.ndarray, cumulative: np.ndarray, per_unit: np.ndarray) -> np.ndarray:
    """The entry k = value · per_unit of a table of cumulative probabilities on the last axis."""
    return _entries(cumulative, np.clip(np.round(value * per_unit).astype(np.int64), 0, cumulative.shape[-1] - 1))


def table_with_tail(value: np.ndarray, cumulative: np.ndarray) -> np.ndarray:
    """The entry k = value of a table of cumulative probabilities on the last axis, whose last entry is of all counts
    from there on, each half as probable as the one before.
    """
    k, last = np.floor(value).astype(np.int64), cumulative.shape[-1] - 1
    inside = _entries(cumulative, np.clip(k, 0, last - 1))
    tail = (cumulative[..., -1] - cumulative[..., -2]) * np.exp2(-np.maximum(k - last + 1.0, 0.0))
    return np.where(k < 0, 0.0, np.where(k < last, inside, 1.0 - tail))


def poisson(value: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Q(k + 1, λ), the regularised upper incomplete gamma function."""
    return special.gammaincc(np.floor(value) + 1, rate)


def negative_binomial(value: np.ndarray, mean: np.ndarray, inverse_dispersion: np.ndarray) -> np.ndarray:
    """I_{r/(r+μ)}(r, k + 1), the regularised incomplete beta function."""
    share = inverse_dispersion / (inverse_dispersion + mean)
    return special.betainc(inverse_dispersion, np.floor(value) + 1, share)


def zero_inflated(
    counts: Callable[..., np.ndarray], value: np.ndarray, gate_logits: np.ndarray, *parameters: np.ndarray
) -> np.ndarray:
    """π + (1 − π) C, of the function C of the counts without extra zeros, which comes before the value."""
    return special.expit(gate_logits) + special.expit(-gate_logits) * counts(value, *parameters)


def _entries(tables: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The entry k of each table (…, K), for k (*lead, …) that may have more axes in front."""
    shape = np.broadcast_shapes(tables.shape[:-1], k.shape)
    whole = np.broadcast_to(k, shape).reshape(-1, *shape[len(shape) - tables.ndim + 1 :])
    found = np.take_along_axis(tables, np.moveaxis(whole, 0, -1), -1)
    return np.moveaxis(found, -1, 0).reshape(shape)


def _summed(terms: np.ndarray) -> np.ndarray:
    """The sum over the last axis, in order."""
    return np.add.accumulate(terms, -1)[..., -1]
