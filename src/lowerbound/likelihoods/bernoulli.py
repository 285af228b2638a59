"""p(x | z) = Π_d π_d(z)^x_d (1 − π_d(z))^(1 − x_d), π = sigmoid(l) (Kingma & Welling 2013, arXiv:1312.6114, eq. 11).

Summed over every pixel, never averaged: an average would weigh the likelihood 1/D against the rate and be no bound.
Values of x inside (0, 1) give the cross-entropy of that formula, which is no longer a log-probability of data: it is
the expectation of one over x re-sampled with those probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Independent

from lowerbound.nets.shapes import Shape, as_shape, out_shape_of
from lowerbound.protocols import Context

__all__ = ["Bernoulli"]


class Bernoulli(nn.Module):
    """Independent Bernoulli variables whose logits are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to logits (..., *event_shape).
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.

    Returns (when called):
        A distribution over x in {0, 1}; log-probabilities are nats per datum, summed over `event_shape`.
    """

    def __init__(self, net: nn.Module, event_shape: Shape | None = None):
        super().__init__()
        self.net = net
        self.event_shape = out_shape_of(net, event_shape, owner="Bernoulli", argument="event_shape")

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(event_shape)

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        logits = self.net(*context) if isinstance(context, tuple) else self.net(context)
        distribution = BernoulliDistribution(logits=logits, validate_args=False)
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the `output_bias` of the net, if it has one, at the logits of the mean datum, clipped to 1 and 99 %."""
        bias = getattr(self.net, "output_bias", None)
        if bias is not None:
            bias.copy_(x.float().mean(0).clamp(0.01, 0.99).logit())
