"""Probabilistic PCA: x = W z + b + σ ε with one σ for all columns, in closed form (Tipping & Bishop 1999, §3.2).

With λ_1 ≥ λ_2 ≥ … the eigenvalues of the covariance S of the rows and U its eigenvectors,

    σ² = (λ_{L+1} + … + λ_D) / (D − L)          W = U_L (Λ_L − σ² I)^½          b = the mean of the rows

up to a rotation of z. S has the divisor N − c: c = 0 is maximum likelihood, c = 1 what scikit-learn's PCA takes, whose
log-likelihood of the rows is smaller by D/2 [log k + 1/k − 1] with k = N/(N − 1), about D / 4N² nats. Since
W Wᵀ + σ² I is proportional to S, c > 0 is the solution of maximum likelihood with W and σ multiplied by √k, and so it
is defined with missing entries too; there the fit is by EM (`expectation_maximization`).

The λ are squares of singular values of the rows, not eigenvalues of S: the other columns are then accurate even if one
column is a billion times larger. The default floor of σ is 1e-10 of the spread of the columns, about the resolution;
with missing entries it is that of EM.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.em import (
    SMALLEST_SCALE,
    Iteration,
    check_rows,
    expectation_maximization,
)
from lowerbound.linear.observed import observed_log_evidence
from lowerbound.linear.units import Units

__all__ = ["SMALLEST_SHARED_SCALE", "closed_form", "corrected", "fit_probabilistic_pca", "principal_directions"]

SMALLEST_SHARED_SCALE = 1e-10
"""The default floor of σ without missing entries, in units of the spread of the columns."""


def fit_probabilistic_pca(
    x: Float[Tensor, "batch data"],
    latent_dim: int,
    *,
    min_scale: float | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Iterator[Iteration]:
    """Fits of rising likelihood; the last is the result. Without missing entries there is only one.

    Arguments:
        x: rows, best in double precision; NaN where an entry is missing.
        latent_dim: L, less than the number of columns.
        min_scale: the floor of σ, in the units of x; None: one relative to the spread of the columns.
        max_iterations: of EM, after which to stop.
        tolerance: stop when the log-likelihood rises by less, nats per row.

    Raises:
        ValueError: see `check_rows`.

    >>> x = LinearGaussian.random(4, 1).sample(100)
    >>> [fit.iteration for fit in fit_probabilistic_pca(x, 1)]
    [0]
    """
    check_rows(x, latent_dim, x.shape[1] - 1)
    units, missing = Units.of(x, "shared"), bool(x.isnan().any())
    y = units.standard(x).nan_to_num()
    start = closed_form(y, latent_dim, units.floor(min_scale, SMALLEST_SCALE if missing else SMALLEST_SHARED_SCALE))
    if not missing:
        yield Iteration(0, float(observed_log_evidence(start, y).mean()) - units.log_volume(x), units.leave(start))
        return
    options = {"min_scale": min_scale, "max_iterations": max_iterations, "tolerance": tolerance}
    yield from expectation_maximization(units.leave(start), x, noise="shared", **options)


def closed_form(x: Float[Tensor, "batch data"], latent_dim: int, floor: Float[Tensor, ""]) -> LinearGaussian:
    """The maximum of the likelihood of centred rows without missing entries."""
    deviation, u = principal_directions(x)
    rest = deviation[latent_dim:].square()
    scale = torch.maximum(rest.mean().sqrt() if len(rest) else torch.zeros_like(floor), floor)
    largest = deviation[:latent_dim]
    weight = u[:, :latent_dim] * ((largest - scale) * (largest + scale)).clamp_min(0).sqrt()
    return LinearGaussian(weight, x.new_zeros(x.shape[1]), scale)


def principal_directions(x: Float[Tensor, "batch data"]) -> tuple[Float[Tensor, "data"], Float[Tensor, "data data"]]:
    """The standard deviations of centred rows along their principal directions, largest first, and those directions.

    With fewer rows than columns the remaining directions have deviation 0.
    """
    upper = torch.linalg.qr(x, mode="r").R
    _, values, directions = torch.linalg.svd(upper, full_matrices=True)
    padded = torch.nn.functional.pad(values, (0, x.shape[1] - len(values)))
    return padded / len(x) ** 0.5, directions.mT


def corrected(exact: LinearGaussian, num_rows: int, correction: int) -> LinearGaussian:
    """The model whose covariance has the divisor N − correction in place of N."""
    factor = (num_rows / (num_rows - correction)) ** 0.5
    return LinearGaussian(factor * exact.weight, exact.offset, factor * exact.scale)
