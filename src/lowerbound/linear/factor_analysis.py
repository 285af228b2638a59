"""Factor analysis by maximum likelihood: x = W z + b + σ ε, each column with a noise variance ψ_d = σ_d².

Without missing entries W is eliminated. With S the covariance of the rows (divisor N) and

    Ψ^-½ S Ψ^-½ = U diag(θ) Uᵀ,   θ_1 ≥ θ_2 ≥ …        Ŵ(ψ) = Ψ^½ U_K (Θ_K − I)^½,   K = {j ≤ L : θ_j > 1}

is the best W for these ψ, so that the likelihood becomes a function of D numbers,

    ℓ(ψ) = −½ [D log 2π + Σ_d log ψ_d + Σ_{j ∈ K} (log θ_j + 1) + Σ_{j ∉ K} θ_j]       nats per row
    ∂ℓ/∂ log ψ_d = −½ Σ_{j ∉ K} U_dj² (1 − θ_j)

(Jöreskog 1967; Lawley & Maxwell 1971, ch. 4), which L-BFGS maximises in tens of steps where EM takes thousands; its
line search never accepts a lower value. With missing entries the fit is by EM (`expectation_maximization`).

A column that is constant, or that a factor copies, has ψ_d → 0 and an unbounded density (a Heywood case): its σ reaches
the floor. Its contribution to the log-likelihood is then that of a Gaussian of this width. By default the floor is
relative to the spread of the column, so that other units of x only shift the log-likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.em import (
    SMALLEST_SCALE,
    Iteration,
    check_rows,
    expectation_maximization,
)
from lowerbound.linear.principal_components import closed_form
from lowerbound.linear.units import Units

__all__ = ["fit_factor_analysis"]

_LOG_2PI = math.log(2 * math.pi)


def fit_factor_analysis(
    x: Float[Tensor, "batch data"],
    latent_dim: int,
    *,
    min_scale: float | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Iterator[Iteration]:
    """Fits of rising likelihood; the last is the result.

    Arguments:
        x: rows, best in double precision; NaN where an entry is missing.
        latent_dim: L, at most the number of columns.
        min_scale: the floor of σ, in the units of x; None: `SMALLEST_SCALE` of the spread of the column.
        max_iterations: after which to stop.
        tolerance: when to stop: the largest slope of ℓ, or, with missing entries, the rise of an iteration of EM, nats
            per row.

    Raises:
        ValueError: see `check_rows`.

    >>> x = LinearGaussian.random(4, 1).sample(100)
    >>> *_, fit = fit_factor_analysis(x, 1)
    >>> fit.exact.weight.shape
    torch.Size([4, 1])
    """
    check_rows(x, latent_dim, x.shape[1])
    units = Units.of(x, "per-dimension")
    floor, y = units.floor(min_scale, SMALLEST_SCALE), units.standard(x)
    if bool(x.isnan().any()):
        start = units.leave(_start(y, latent_dim, floor))
        options = {"min_scale": min_scale, "max_iterations": max_iterations, "tolerance": tolerance}
        yield from expectation_maximization(start, x, **options)
        return
    log_volume = units.log_volume(x)
    for fit in _by_profile(y, latent_dim, floor, max_iterations=max_iterations, tolerance=tolerance):
        yield fit._replace(log_likelihood=fit.log_likelihood - log_volume, exact=units.leave(fit.exact))


def _start(y: Tensor, latent_dim: int, floor: Tensor) -> LinearGaussian:
    """Principal components of columns in their own units, missing entries at their means."""
    fit = closed_form(y.nan_to_num(), min(latent_dim, max(1, y.shape[1] - 1)), floor.new_zeros(()))
    weight = torch.nn.functional.pad(fit.weight, (0, latent_dim - fit.weight.shape[1]))
    return LinearGaussian(weight, y.new_zeros(y.shape[1]), torch.maximum(fit.scale, floor))


def _by_profile(
    y: Tensor, latent_dim: int, floor: Tensor, *, max_iterations: int, tolerance: float
) -> Iterator[Iteration]:
    """The iterates of L-BFGS over log(ψ / variance)."""
    covariance = y.mT @ y / len(y)
    variance = torch.maximum(covariance.diagonal(), floor**2)
    correlation = covariance / (variance[:, None] * variance).sqrt()
    lowest = (2 * floor.log() - variance.log()).cpu().numpy()

    def loss(log_psi: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope, _ = _profile(torch.as_tensor(log_psi).to(y), correlation, latent_dim)
        return -float(value), -slope.cpu().numpy().astype(float)

    start = np.maximum(math.log(0.5), lowest)
    path = [start]
    minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, None) for low in lowest],
        callback=lambda log_psi: path.append(np.array(log_psi)),
        options={"maxiter": max_iterations, "maxfun": 20 * max_iterations, "ftol": 1e-15, "gtol": tolerance},
    )
    for iteration, log_psi in enumerate(path):
        psi = torch.as_tensor(log_psi).to(y)
        value, _, weight = _profile(psi, correlation, latent_dim)
        root = variance.sqrt()
        exact = LinearGaussian(root[:, None] * weight, torch.zeros_like(root), root * (0.5 * psi).exp())
        yield Iteration(iteration, float(value - root.log().sum()), exact)


def _profile(log_psi: Tensor, covariance: Tensor, latent_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """ℓ(ψ), its slope for log ψ, and Ŵ(ψ)."""
    root = (0.5 * log_psi).exp()
    theta, u = torch.linalg.eigh(covariance / (root[:, None] * root))
    theta, u = theta.flip(0), u.flip(1)
    kept = (torch.arange(len(theta), device=theta.device) < latent_dim) & (theta > 1)
    terms = torch.where(kept, theta.clamp_min(1).log() + 1, theta)
    value = -0.5 * (len(theta) * _LOG_2PI + log_psi.sum() + terms.sum())
    slope = -0.5 * (u**2 @ torch.where(kept, 0.0, 1 - theta))
    loading = (theta - 1).clamp_min(0).sqrt()[:latent_dim]
    return value, slope, root[:, None] * u[:, :latent_dim] * loading
