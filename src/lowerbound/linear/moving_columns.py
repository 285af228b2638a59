"""Which columns of classes move the real columns of a table."""

from __future__ import annotations

import math

from lowerbound.linear.location_mixture import fit_location_mixture
from lowerbound.linear.other_columns import MixedRows
from lowerbound.linear.scaled_mixture import fit_scaled_mixture

__all__ = ["columns_that_move"]

_TRIAL = 10
_MOST_CELLS, _MOST_PAIRS = 400, 32  # pairs of a row, in the mean


def columns_that_move(rows: MixedRows) -> tuple[int, ...]:
    """Columns of classes that move the real ones by more than chance, as many as leave few cells and pairs.

    A column does if it raises the likelihood of one Gaussian by more than the Bayesian information criterion counts for
    its numbers. Those that raise it most come first.
    """
    others, (n, d) = rows.others, rows.real.shape
    if others is None or not others.sizes or not d:
        return ()
    few = {"max_iterations": _TRIAL, "shrinkage": d / 2}
    alone = fit_scaled_mixture(rows.real, 1, None, others=others, **few).log_evidence(rows.real, others).sum()
    missing = 1 - (~others.classes.isnan()).to(rows.real).mean(0)
    pairs_of = [1 + float(part) * (size - 1) for part, size in zip(missing, others.sizes, strict=True)]
    gain = {}
    for j, size in enumerate(others.sizes):
        if size <= _MOST_CELLS and pairs_of[j] <= _MOST_PAIRS:
            moved = fit_location_mixture(rows, 1, None, [j], **few).log_evidence(rows.real, others).sum()
            gain[j] = float(moved - alone) - 0.5 * (size - 1) * d * math.log(n)
    taken: list[int] = []
    num_cells, num_pairs = 1, 1.0
    for j in sorted(gain, key=lambda j: -gain[j]):
        cells, pairs = num_cells * others.sizes[j], num_pairs * pairs_of[j]
        if gain[j] > 0 and cells <= _MOST_CELLS and pairs <= _MOST_PAIRS:
            taken.append(j)
            num_cells, num_pairs = cells, pairs
    return tuple(sorted(taken))
