"""KL(q ‖ p) in closed form, of a Gaussian with correlations against a factorised one.

    KL(N(μ, Σ) ‖ N(m, diag s²)) = ½ Σ_d [(Σ_dd + (μ_d − m_d)²) / s_d² − 1 + 2 log s_d] − ½ log det Σ

torch has this KL for two of its own correlated Gaussians, but not for a p that is an `Independent` of normals, such as
the standard normal prior. It is registered here (`register_kl`) for `MultivariateNormal`, which `FullNormal` returns,
and for `LowRankNormalDistribution`. It needs D variances and a determinant, and costs as much as a draw.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, register_kl

from lowerbound.posteriors.low_rank_normal import LowRankNormalDistribution

__all__ = ["kl_of_full", "kl_of_low_rank"]


@register_kl(MultivariateNormal, Independent)
def kl_of_full(q: MultivariateNormal, p: Independent) -> Float[Tensor, "*batch"]:
    """KL of a full covariance against a factorised Gaussian over vectors, nats.

    Raises:
        NotImplementedError: p is a product of something else.
    """
    scale_tril = q.scale_tril
    half_log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return _kl(q.loc, scale_tril.square().sum(-1), half_log_det, p)


@register_kl(LowRankNormalDistribution, Independent)
def kl_of_low_rank(q: LowRankNormalDistribution, p: Independent) -> Float[Tensor, "*batch"]:
    """KL of a low-rank covariance against a factorised Gaussian over vectors, nats.

    Raises:
        NotImplementedError: p is a product of something else.
    """
    return _kl(q.loc, q.variance, q.half_log_det, p)


def _kl(loc: Tensor, variance: Tensor, half_log_det: Tensor, p: Distribution) -> Tensor:
    base = p.base_dist if isinstance(p, Independent) else None
    if not (isinstance(base, Normal) and p.event_shape == loc.shape[-1:]):
        raise NotImplementedError
    squares = (variance + (loc - base.loc).square()) / base.scale.square()
    return 0.5 * (squares - 1).sum(-1) + torch.log(base.scale).sum(-1) - half_log_det
