"""EM for the linear-Gaussian model, with or without missing entries: exact steps, none of which lowers log p(x_obs).

    log p(x_obs; θ) − log p(x_obs; θ_old) ≥ E[log p(x_obs, z; θ) − log p(x_obs, z; θ_old)],   z ~ p(z | x_obs; θ_old)

(Dempster, Laird & Rubin 1977, theorem 1). Both steps are in `statistics`. They work on columns in their own units
(`units`), where a variance is resolved to about 1e-16: the floor of σ is by default 1e-6 of the spread of the column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.observed import observe
from lowerbound.linear.statistics import Noise, expected_statistics
from lowerbound.linear.units import Units

__all__ = ["SMALLEST_SCALE", "Iteration", "check_rows", "expectation_maximization"]

SMALLEST_SCALE = 1e-6
"""The default floor of σ, in units of the spread of the column (of all columns, if they share σ)."""


class Iteration(NamedTuple):
    """A model on the way to the maximum of the likelihood.

    Attributes:
        iteration: counted from 0, where the fit starts.
        log_likelihood: mean of log p(x_obs) over the rows, nats.
        exact: the model.
    """

    iteration: int
    log_likelihood: float
    exact: LinearGaussian


def expectation_maximization(
    start: LinearGaussian,
    x: Float[Tensor, "batch data"],
    *,
    noise: Noise = "per-dimension",
    min_scale: float | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Iterator[Iteration]:
    """Iterate from a model to a stationary point of the likelihood; the start is the first iteration.

    Arguments:
        start: the model to start from.
        x: rows; NaN where an entry is missing.
        noise: of each dimension, or shared.
        min_scale: the floor of σ, in the units of x; None: `SMALLEST_SCALE` of the spread of the column.
        max_iterations: after which to stop.
        tolerance: stop when the log-likelihood rises by less, nats per row.
    """
    units = Units.of(x, noise)
    y, exact, floor = units.standard(x), units.enter(start), units.floor(min_scale, SMALLEST_SCALE)
    log_volume, previous = units.log_volume(x), -float("inf")
    for iteration in range(max_iterations + 1):
        p = observe(exact, y)
        value = float(p.log_evidence.mean()) - log_volume
        yield Iteration(iteration, value, units.leave(exact))
        if value - previous <= tolerance:
            return
        previous, exact = value, expected_statistics(exact, y, observed=p).maximise(noise, floor)


def check_rows(x: Float[Tensor, "batch data"], latent_dim: int, most: int) -> None:
    """Refuse rows that cannot be fitted, and too many factors.

    Raises:
        ValueError: too few rows, infinite values, a column that is never observed, or a latent_dim out of range.
    """
    if len(x) < 2:
        raise ValueError(f"There is {len(x)} row and the fit needs at least 2; give more rows.")
    if bool(torch.isinf(x).any()):
        raise ValueError("There are infinite values; replace them by numbers, or by NaN for missing entries.")
    empty = x.isnan().all(0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"Columns {empty} have no observed entry; leave them out.")
    if not 1 <= latent_dim <= most:
        raise ValueError(
            f"latent_dim is {latent_dim} and must be between 1 and {most} for {x.shape[1]} columns; ask for fewer."
        )
