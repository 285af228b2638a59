"""p(z) = N(z; 0, I): the prior of Kingma & Welling (2013, arXiv:1312.6114)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lowerbound.protocols import Context

__all__ = ["StandardNormal"]


class StandardNormal(nn.Module):
    """log p(z) = −½ Σ_d (z_d² + log 2π), nats.

    Arguments:
        latent_dim: length of z.

    Returns (when called):
        A distribution with batch shape () and event shape (latent_dim,). A context is ignored.

    >>> StandardNormal(3)().log_prob(torch.zeros(3))
    tensor(-2.7568)
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self, context: Context | None = None) -> Independent:
        """p(z), whatever the context."""
        return Independent(Normal(self.loc, self.scale, validate_args=False), 1, validate_args=False)
