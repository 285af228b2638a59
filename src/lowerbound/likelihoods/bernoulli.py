"""p(x | z) = Π_d π_d(z)^x_d (1 − π_d(z))^(1 − x_d), π = sigmoid(l) (Kingma & Welling 2013, arXiv:1312.6114, eq. 11).

log p(x | z) is a sum over pixels. With an average the likelihood would have the weight 1/D against the rate, and the
result would be no bound. For x inside (0, 1) the formula is a cross-entropy and no log-probability of data: it is the
expected log-probability of binary x that are drawn with these probabilities.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Independent
from torch.types import _size

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape, out_shape_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, unit_interval

__all__ = ["Bernoulli", "IndependentBernoulli"]


class IndependentBernoulli(Independent):
    """Bernoulli variables with logits (..., *event), the last `event_ndim` axes being one event.

    Without gradients (scoring with thousands of samples) log p is computed as

        Σ_d (x_d − ½) l_d − ½ |l_d| + log sigmoid(|l_d|)

    in less than half the time of the cross-entropy that autograd differentiates; the two agree to rounding. Of up to a
    hundred sigmoids, each from ½ to 1, one logarithm is taken, that of their product.
    """

    def __init__(self, logits: Tensor, event_ndim: int):
        super().__init__(BernoulliDistribution(logits=logits, validate_args=False), event_ndim, validate_args=False)

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> IndependentBernoulli:
        """The same distribution with a larger batch shape."""
        logits = self.base_dist.logits.expand(torch.Size(batch_shape) + self.event_shape)
        return IndependentBernoulli(logits, len(self.event_shape))

    def slope(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The logits l, and ∂ log p(x) / ∂l = x − sigmoid(l)."""
        logits = self.base_dist.logits
        probability = logits.detach().sigmoid()
        return logits, torch.sub(value.to(probability.dtype), probability, out=probability)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) (...), nats, for x (..., *event) that broadcasts against the logits."""
        logits, ndim = self.base_dist.logits, len(self.event_shape)
        if torch.is_grad_enabled() or ndim == 0:
            return super().log_prob(value)
        logits, value = logits.flatten(-ndim), value.to(logits.dtype).flatten(-ndim)
        linear = (logits * (value - 0.5)).sum(-1)
        size = logits.abs()
        linear = linear - 0.5 * size.sum(-1)
        return linear + _products_of_some(size.sigmoid_()).log_().sum(-1)


def _products_of_some(s: Tensor) -> Tensor:
    """Fewer numbers with the same product over the last axis (…, D) of numbers from ½ to 1.

    Each is the product of D / n that follow one another, as many as divide D and cannot underflow: in float32 up to 113
    of the 126 halves whose product is the smallest normal number.
    """
    most = int(-0.9 * math.log2(torch.finfo(s.dtype).tiny))
    size = next(size for size in range(most, 0, -1) if s.shape[-1] % size == 0)
    return s.unflatten(-1, (-1, size)).prod(-1)


class Bernoulli(nn.Module):
    """Independent Bernoulli variables whose logits are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to logits (..., *event_shape).
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.

    Returns (when called):
        A distribution over x in {0, 1}; log-probabilities are nats per datum, summed over `event_shape`.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="unit interval", discrete=True, baselines=("bernoulli_mixture",), any_real=True
    )

    def __init__(self, net: nn.Module, event_shape: Shape | None = None):
        super().__init__()
        self.net = net
        self.event_shape = out_shape_of(net, event_shape, owner="Bernoulli", argument="event_shape")

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(event_shape)

    @property
    def support(self) -> Support:
        """[0, 1]: 0, 1, and grey values, which count as probabilities of a 1."""
        return replace(unit_interval, grid=(0.0, 1.0))

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        logits = parameters_of(self.net, context, self.event_shape)
        return IndependentBernoulli(logits, len(self.event_shape))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set the `output_bias` of the net, if it has one, to the logits of the mean datum, clipped to 1 and 99 %."""
        bias = getattr(self.net, "output_bias", None)
        if bias is not None:
            bias.copy_(x.float().mean(0).clamp(0.01, 0.99).logit())
