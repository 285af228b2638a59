"""Probabilistic PCA: x = W z + b + σ ε with one σ for all columns, in closed form (Tipping & Bishop 1999, §3.2).

With λ_1 ≥ λ_2 ≥ … the eigenvalues of the covariance S of the rows and U its eigenvectors,

    σ² = (λ_{L+1} + … + λ_D) / (D − L)          W = U_L (Λ_L − σ² I)^½          b = the mean of the rows

up to a rotation of z. S has the divisor N − c: c = 0 is maximum likelihood, c = 1 what scikit-learn's PCA takes, whose
log-likelihood of the rows is smaller by D/2 [log k + 1/k − 1] with k = N/(N − 1), about D / 4N² nats. Since
W Wᵀ + σ² I is proportional to S, c > 0 is the solution of maximum likelihood with W and σ multiplied by √k, and so it
is defined with missing entries too; there the fit is by EM (`expectation_maximization`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.expectation_maximization import Iteration, centred, check_rows, expectation_maximization, shifted
from lowerbound.linear.observed import log_evidence

__all__ = ["closed_form", "corrected", "probabilistic_pca"]


def probabilistic_pca(
    x: Float[Tensor, "batch data"],
    latent_dim: int,
    *,
    min_scale: float = 1e-6,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Iterator[Iteration]:
    """Fits of rising likelihood, of which the last is the answer: the only one where no entry is missing.

    Arguments:
        x: rows, best in double precision; NaN where an entry is missing.
        latent_dim: L, less than the number of columns.
        min_scale: the floor of σ, in the units of x.
        max_iterations: of EM, after which to stop.
        tolerance: a rise of the log-likelihood that is too small to go on for, nats per row.

    Raises:
        ValueError: see `check_rows`.

    >>> x = LinearGaussian.random(4, 1).sample(100)
    >>> [fit.iteration for fit in probabilistic_pca(x, 1)]
    [0]
    """
    check_rows(x, latent_dim, x.shape[1] - 1)
    x, mean = centred(x)
    start = closed_form(x.nan_to_num(), latent_dim, min_scale)
    if not bool(x.isnan().any()):
        yield shifted(Iteration(0, float(log_evidence(start, x).mean()), start), mean)
        return
    options = {"min_scale": min_scale, "max_iterations": max_iterations, "tolerance": tolerance}
    yield from (shifted(fit, mean) for fit in expectation_maximization(start, x, noise="shared", **options))


def closed_form(x: Float[Tensor, "batch data"], latent_dim: int, min_scale: float) -> LinearGaussian:
    """The maximum of the likelihood of centred rows without missing entries."""
    values, u = torch.linalg.eigh(x.mT @ x / len(x))
    values, u = values.flip(0).clamp_min(0), u.flip(1)
    rest = values[latent_dim:]
    variance = (rest.mean() if len(rest) else values.new_zeros(())).clamp_min(min_scale**2)
    weight = u[:, :latent_dim] * (values[:latent_dim] - variance).clamp_min(0).sqrt()
    return LinearGaussian(weight, torch.zeros_like(values), variance.sqrt())


def corrected(exact: LinearGaussian, num_rows: int, correction: int) -> LinearGaussian:
    """The model whose covariance has the divisor N − correction in place of N."""
    factor = (num_rows / (num_rows - correction)) ** 0.5
    return LinearGaussian(factor * exact.weight, exact.offset, factor * exact.scale)
