"""q(z | x) = N(z; A x + c, S): the family that contains the posterior of every linear-Gaussian model.

Two forms of the covariance S, which does not depend on x:

    diagonal    S = diag exp(2 s)         s (latent,), the log scale
    full        S = T Tᵀ                  T (latent, latent), lower triangular
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from lowerbound.protocols import Context

__all__ = ["AffineNormal"]


class AffineNormal(nn.Module):
    """A Gaussian whose mean is an affine function of x and whose covariance is constant.

    Arguments:
        weight: A (latent, data).
        offset: c (latent,).
        log_scale: s (latent,), for a factorised Gaussian.
        scale_tril: T (latent, latent), lower triangular with a positive diagonal, for a full
            covariance.

    Returns (when called with x (B, data)):
        A reparameterised distribution with batch shape (B,) and event shape (latent,).

    Raises:
        ValueError: not exactly one of log_scale and scale_tril was given.
    """

    def __init__(
        self,
        weight: Float[Tensor, "latent data"],
        offset: Float[Tensor, "latent"],
        *,
        log_scale: Float[Tensor, "latent"] | None = None,
        scale_tril: Float[Tensor, "latent latent"] | None = None,
    ):
        super().__init__()
        if (log_scale is None) == (scale_tril is None):
            raise ValueError("AffineNormal needs exactly one of log_scale= (factorised) and scale_tril= (full).")
        self.weight = nn.Parameter(weight.detach().clone())
        self.offset = nn.Parameter(offset.detach().clone())
        self.log_scale = None if log_scale is None else nn.Parameter(log_scale.detach().clone())
        self.scale_tril = None if scale_tril is None else nn.Parameter(scale_tril.detach().clone())

    def forward(self, context: Context | None = None) -> Distribution:
        """q(z | context)."""
        assert isinstance(context, Tensor)
        loc = context @ self.weight.mT + self.offset
        if self.log_scale is not None:
            scale = self.log_scale.exp().expand_as(loc)
            return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
        assert self.scale_tril is not None
        return MultivariateNormal(loc, scale_tril=torch.tril(self.scale_tril), validate_args=False)
