"""A covariance of a given rank plus independent noise, near a full one: Σ = W Wᵀ + diag ψ.

Rank None is any covariance, rank 0 a diagonal; others are some steps of EM for factor analysis from the last W and ψ,
so that each call raises the likelihood. With the floor F of ψ, the covariance of any rank nearest to S is
F^½ U max(Λ, 1) Uᵀ F^½ where U Λ Uᵀ = F^-½ S F^-½: S itself where it exceeds F.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["structured"]

_INNER = 3
_ROUNDINGS = 64  # of one number, that a variance has to be above in proportion


def structured(
    covariance: Tensor, latent_dim: int | None, floor: Tensor, old: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """W (K, D, L) and ψ (K, D).

    Arguments:
        covariance: of each cluster (K, D, D).
        latent_dim: L; None for D.
        floor: of ψ (K, D); where rounding would leave no positive definite WWᵀ + ψ, a larger one.
        old: W and ψ to go on from; None begins at principal components.
    """
    variances = covariance.diagonal(dim1=1, dim2=2)
    floor = torch.maximum(floor, _ROUNDINGS * variances.shape[1] * torch.finfo(variances.dtype).eps * variances)
    if latent_dim == 0:
        return covariance[:, :, :0], variances.clamp_min(floor)
    if latent_dim is None:
        root = floor.sqrt()
        values, u = torch.linalg.eigh(covariance / (root[:, :, None] * root[:, None]))
        return root[:, :, None] * u * (values - 1).clamp_min(0).sqrt()[:, None], floor
    if old is None:
        return _principal(covariance, latent_dim, floor)
    weight, variance = old
    for _ in range(_INNER):
        weight, variance = _step(covariance, weight, variance, floor)
    return weight, variance


def _principal(covariance: Tensor, latent_dim: int, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Leading principal components, and what variance they leave, at least a twentieth."""
    values, u = torch.linalg.eigh(covariance)
    rest = values[:, :-latent_dim].mean(1, keepdim=True).clamp_min(floor.min())
    weight = u[:, :, -latent_dim:] * (values[:, -latent_dim:] - rest).clamp_min(0).sqrt()[:, None]
    variances = covariance.diagonal(dim1=1, dim2=2)
    left = variances - weight.square().sum(-1)
    return weight, torch.maximum(left, 0.05 * variances).clamp_min(floor)


def _step(covariance: Tensor, weight: Tensor, variance: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """One step of EM of factor analysis from S = `covariance`: β = (I + Wᵀψ⁻¹W)⁻¹Wᵀψ⁻¹, R = I − βW + βSβᵀ."""
    scaled = (weight / variance[:, :, None]).mT
    eye = torch.eye(weight.shape[2], dtype=weight.dtype, device=weight.device)
    beta = torch.linalg.solve(eye + scaled @ weight, scaled)
    cross = covariance @ beta.mT
    moment = eye - beta @ weight + beta @ cross
    weight = torch.linalg.solve(moment, cross.mT).mT
    left = covariance.diagonal(dim1=1, dim2=2) - (weight * cross).sum(-1)
    return weight, left.clamp_min(floor)
