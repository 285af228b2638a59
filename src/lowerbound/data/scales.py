"""Whether whole numbers are places on a scale, such as ratings from 1 to 5, and not counts without an end.

The numbers of a scale begin at 0 or 1, leave none out, and end where a count would have gone on. For a Poisson variable

    P(x = K + 1) / P(x = K) = K / (K + 1) · P(x = K) / P(x = K − 1),

so that n_K rows of the largest value K let one expect n_K · min(1, n_K / n_{K−1}) · K / (K + 1) rows of K + 1. Ten of
them that are missing have a probability of e⁻¹⁰ under a count whose tail falls like that of a Poisson variable, and a
smaller one under those whose tail is longer.

Rows that stay on the disk are not asked, because numbers of a scale are stored by their places, which takes a copy.
"""

from __future__ import annotations

import numpy as np

__all__ = ["scale_of"]

_LARGEST, _FEWEST_EXPECTED = 10, 10


def scale_of(x: np.ndarray) -> tuple[int, int] | None:
    """The ends of the scale of values (N,), NaN where missing; None if they are on none.

    >>> scale_of(np.repeat([1.0, 2.0, 3.0], 20))
    (1, 3)
    """
    values, rows = np.unique(x[~np.isnan(x)], return_counts=True)
    if not 2 <= len(values) <= _LARGEST + 1 or values[0] not in (0, 1):
        return None
    low, high = int(values[0]), float(values[-1])
    if high < 2 or high > _LARGEST or not np.array_equal(values, np.arange(low, low + len(values))):
        return None
    expected = rows[-1] * min(1.0, rows[-1] / rows[-2]) * high / (high + 1)
    return (low, int(high)) if expected >= _FEWEST_EXPECTED else None
