"""p(z) = N(z; 0, I): the prior of Kingma & Welling (2013, arXiv:1312.6114).

    KL(N(μ, σ²) ‖ N(0, 1)) = ½ (σ² + μ² − 1 − log σ²)

is registered for it: torch's KL of two normals without the divisions by 1, which is the same bits in fewer operations.
So is log p(z) of torch's normal without its zero and its one.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, register_kl

from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context

__all__ = ["StandardNormal"]

_LOG_ROOT = math.log(math.sqrt(2 * math.pi))


class _Standard(Normal):
    """Normals with mean 0 and scale 1."""

    def log_prob(self, value: Tensor) -> Tensor:
        if value.dtype != self.loc.dtype:
            value = value.to(torch.promote_types(value.dtype, self.loc.dtype))
        log_p = value.square().mul(-0.5).sub(_LOG_ROOT)
        same = log_p.shape[max(0, log_p.ndim - len(self.batch_shape)) :] == self.batch_shape
        return log_p if same else log_p.expand(torch.broadcast_shapes(log_p.shape, self.batch_shape))


@register_kl(Normal, _Standard)
def _kl_of_normal(q: Normal, p: _Standard) -> Tensor:
    loc, scale = q.loc, q.scale
    if scale.dtype != p.scale.dtype:
        precise = torch.promote_types(scale.dtype, p.scale.dtype)
        loc, scale = loc.to(precise), scale.to(precise)
    variance = scale.square()
    kl = 0.5 * (variance + loc.square() - 1 - variance.log())
    same = p.batch_shape == q.batch_shape
    return kl if same else kl.expand(torch.broadcast_shapes(q.batch_shape, p.batch_shape))


class StandardNormal(nn.Module):
    """log p(z) = −½ Σ_d (z_d² + log 2π), nats.

    Arguments:
        latent_shape: length or shape of z, such as 8 or (4, 7, 7).

    Returns (when called):
        A distribution with batch shape () and event shape `latent_shape`. A context is ignored.

    >>> StandardNormal(3)().log_prob(torch.zeros(3))
    tensor(-2.7568)
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto",)

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_shape: Shape):
        super().__init__()
        self.latent_shape = self.event_shape = as_shape(latent_shape)
        self.register_buffer("loc", torch.zeros(self.latent_shape), persistent=False)
        self.register_buffer("scale", torch.ones(self.latent_shape), persistent=False)

    def forward(self, context: Context | None = None) -> Independent:
        """p(z); the context is ignored."""
        return Independent(
            _Standard(self.loc, self.scale, validate_args=False), len(self.latent_shape), validate_args=False
        )
