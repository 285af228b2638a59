"""Densities and probabilities on one footing: the mean of a density over the cell of each row.

Values of a column on a grid stand for cells: an age of 41 for all from 40.5 to 41.5. A density at such values can be
raised without limit by spikes, and says nothing. The probability of the cell, divided by its width, cannot: it is

    p̄(x) = E_u p(x + u Δ),      u uniform on [−½, ½] in each column with a step Δ

for a density p, and a frequency over Δ for a model of the values themselves. Densities are fitted to values that are
moved uniformly within their cells (Theis et al. 2016, arXiv:1511.01844). Columns without a grid have Δ = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.quasirandom import SobolEngine

from lowerbound.linear import Resolution

__all__ = ["cell_log_density", "moved", "steps_of"]

_POINTS = 64


def steps_of(train: np.ndarray) -> np.ndarray:
    """Δ (D,) in the units of training rows (N, D); 0 for columns whose values all differ."""
    mean, scale = train.mean(0), train.std(0)
    return Resolution.of(torch.from_numpy((train - mean) / scale)).step.numpy() * scale


def moved(rows: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Rows moved uniformly within their cells, by seed 0."""
    return rows + step * np.random.default_rng(0).uniform(-0.5, 0.5, rows.shape)


def cell_log_density(density: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, step: np.ndarray) -> np.ndarray:
    """log p̄ (N,) of rows, by 64 points of a Sobol sequence in each cell.

    Arguments:
        density: log p of rows, nats.
        rows: (N, D).
        step: Δ (D,).
    """
    on_grid = np.flatnonzero(step)
    if not len(on_grid):
        return density(rows)
    shift = np.zeros((_POINTS, rows.shape[1]))
    points = SobolEngine(len(on_grid), scramble=True, seed=0).draw(_POINTS, dtype=torch.float64).numpy()
    shift[:, on_grid] = (points - 0.5) * step[on_grid]
    return np.logaddexp.reduce([density(rows + each) for each in shift]) - np.log(_POINTS)
