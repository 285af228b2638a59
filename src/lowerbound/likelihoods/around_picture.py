"""r(x | z) = Π_d r(x_d | m_d(z)): levels that are independent given the picture of a centred autoregressive likelihood.

Each is a discretized logistic around m_d(z) (see `autoregressive`) with a scale of its own, which does not depend on z.
Where an auxiliary loss asks r to tell x, m(z) becomes what z knows of x; p(x | z) alone gives it no reason to, for the
causal net finds its way from any picture.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributions import Independent

from lowerbound.likelihoods.autoregressive import Autoregressive
from lowerbound.likelihoods.discretized_logistic import DiscretizedLogisticDistribution
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context

__all__ = ["AroundPicture"]

_MIN_SCALE = 1e-3


class AroundPicture(nn.Module):
    """The levels of an image, each given m(z) alone.

    Arguments:
        likelihood: the centred one; it is referred to and is no part of this one.

    Returns (when called with a context (..., latent_dim)):
        A distribution over x (..., *event), nats per image.
    """

    def __init__(self, likelihood: Autoregressive):
        super().__init__()
        assert self.fits(likelihood)
        self.__dict__["_likelihood"] = likelihood  # not a submodule: its parameters are those of the model
        self.raw_scale = nn.Parameter(torch.zeros(likelihood.event_shape))

    @staticmethod
    def fits(likelihood: object) -> bool:
        """Whether it is a likelihood of that kind."""
        return isinstance(likelihood, Autoregressive) and likelihood.net is not None and bool(likelihood.causal.centred)

    def forward(self, context: Context) -> Independent:
        """r(x | context)."""
        likelihood: Autoregressive = self.__dict__["_likelihood"]
        m = likelihood.picture(context)
        r = DiscretizedLogisticDistribution(m, positive(self.raw_scale, _MIN_SCALE).expand_as(m), likelihood.num_levels)
        return Independent(r, len(likelihood.event_shape), validate_args=False)
