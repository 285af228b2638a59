"""Edges of the bins of a histogram, for any finite numbers.

NumPy refuses numbers that differ by less than the rounding of a bin (seconds since 1970 over a minute, in single
precision) and overflows for the largest numbers. Here such a range is widened until the edges differ.
"""

import numpy as np

__all__ = ["bin_edges", "finite"]

_STEPS_PER_BIN = 4  # of the spacing of floating-point numbers, at the least


def finite(values: np.ndarray) -> np.ndarray:
    """The finite numbers, in double precision, flattened."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def bin_edges(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Edges (num_bins + 1,) of bins of equal width over finite numbers; over [0, 1] if there are none.

    >>> bin_edges(np.array([3.0, 3.0]), 2)
    array([2.5, 3. , 3.5])
    """
    if len(values) == 0:
        return np.linspace(0, 1, num_bins + 1)
    low, high = float(np.min(values)), float(np.max(values))
    least = _STEPS_PER_BIN * num_bins * float(np.spacing(max(abs(low), abs(high))))
    if high / 2 - low / 2 < least / 2:
        middle, half = low / 2 + high / 2, max(0.5 if low == high else 0.0, least)
        low, high = middle - half, middle + half
    return np.linspace(low / 2, high / 2, num_bins + 1) * 2
