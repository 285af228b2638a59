"""A linear-Gaussian model given the observed entries of each row, the missing ones (NaN) integrated out.

    x = W z + b + σ ε,   Ψ = diag σ²,   m_d = 1 where x_d is observed, else 0,   r = m (x − b)

The noise of the columns is independent, so that a missing entry drops out of the likelihood:

    M = I + Σ_d m_d w_d w_dᵀ / ψ_d         p(z | x_obs) = N(μ, M⁻¹),   μ = M⁻¹ Wᵀ Ψ⁻¹ r
    log p(x_obs) = −½ [Σ_d m_d (log 2π ψ_d + (r_d − w_dᵀ μ)² / ψ_d) + ‖μ‖² + log|M|]
    E[x_mis | x_obs] = b + W μ

The quadratic form is written as a sum of squares (rᵀΨ⁻¹r − μᵀMμ = ‖Ψ^-½ (r − Wμ)‖² + ‖μ‖²), which is accurate for tiny
variances. M depends on a row only through m, and is factorised once for each pattern of missing entries. There is no
loop over rows.

References: Tipping & Bishop (1999), "Probabilistic principal component analysis"; Ghahramani & Jordan (1994), for
    the missing entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowerbound.exact import LinearGaussian

__all__ = ["Observed", "impute", "observe", "observed_log_evidence"]

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """p(z | x_obs) and log p(x_obs) of some rows.

    Attributes:
        mean: μ, E[z | x_obs].
        covariance: M⁻¹ of each pattern of missing entries.
        patterns: m of each pattern.
        pattern: the pattern of each row.
        log_evidence: log p(x_obs), nats.
    """

    mean: Float[Tensor, "batch latent"]
    covariance: Float[Tensor, "pattern latent latent"]
    patterns: Bool[Tensor, "pattern data"]
    pattern: Int[Tensor, "batch"]
    log_evidence: Float[Tensor, "batch"]


def observe(exact: LinearGaussian, x: Float[Tensor, "batch data"]) -> Observed:
    """Bayes' rule for rows x with missing entries (NaN).

    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> observe(exact, torch.tensor([[3.0, float("nan")]])).mean
    tensor([[1.5000]])
    """
    observed = ~x.isnan()
    patterns, pattern = patterns_of(observed)
    residual = torch.where(observed, x - exact.offset, 0.0)
    scale = exact.scale.expand(x.shape[1])
    W, residual = exact.weight / scale[:, None], residual / scale  # in units of σ: ψ may be too small a number
    outer = (W[:, :, None] * W[:, None, :]).flatten(1)
    eye = torch.eye(W.shape[1], dtype=W.dtype, device=W.device)
    factor = torch.linalg.cholesky(eye + (patterns.to(W.dtype) @ outer).unflatten(1, W.shape[1:] * 2))
    covariance = torch.cholesky_inverse(factor)
    mean = _apply(covariance, pattern, residual @ W)
    log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)[pattern]
    misfit = torch.where(observed, (residual - mean @ W.mT) ** 2 + 2 * scale.log() + _LOG_2PI, 0.0)
    log_evidence = -0.5 * (misfit.sum(-1) + mean.square().sum(-1) + log_det)
    return Observed(mean=mean, covariance=covariance, patterns=patterns, pattern=pattern, log_evidence=log_evidence)


def observed_log_evidence(exact: LinearGaussian, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
    """log p(x_obs) of rows with missing entries (NaN), nats."""
    return observe(exact, x).log_evidence


def impute(exact: LinearGaussian, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch data"]:
    """The rows with their missing entries (NaN) at E[x_mis | x_obs]."""
    return torch.where(x.isnan(), observe(exact, x).mean @ exact.weight.mT + exact.offset, x)


def patterns_of(observed: Bool[Tensor, "batch data"]) -> tuple[Bool[Tensor, "pattern data"], Int[Tensor, "batch"]]:
    """The patterns that occur, and which of them each row has."""
    if bool(observed.all()):
        return observed[:1], torch.zeros(len(observed), dtype=torch.long, device=observed.device)
    patterns, pattern = torch.unique(observed, dim=0, return_inverse=True)
    return patterns, pattern


def _apply(matrices: Tensor, which: Tensor, vectors: Tensor) -> Tensor:
    """The matrix of each row times its vector (symmetric matrices)."""
    if len(matrices) == 1:
        return vectors @ matrices[0]
    return (matrices[which] @ vectors[..., None])[..., 0]
