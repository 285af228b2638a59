"""Counts with more zeros than a count distribution has: with probability π a structural zero, otherwise a count.

    p(0) = π + (1 − π) c(0),      p(x) = (1 − π) c(x)  for x > 0,      π = sigmoid(gate)

    E[x] = (1 − π) m,             Var[x] = (1 − π)(v + π m²)           for a count distribution c of mean m, variance v.

The net computes the gate of each element, besides the parameters of c, which is the Poisson (Lambert 1992) or the
negative binomial of scVI (Lopez et al. 2018). All is computed with logits, so that π may come arbitrarily near 0 or 1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.nn.functional import logsigmoid
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.hooks import HasCumulative
from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.likelihoods.poisson import PoissonDistribution
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support
from lowerbound.support import counts as whole_numbers

__all__ = ["ZeroInflated", "ZeroInflatedDistribution", "ZeroInflatedNegativeBinomial", "ZeroInflatedPoisson"]

_FIRST_GATE = 0.1


class ZeroInflated(nn.Module):
    """The base of zero-inflated likelihoods; a subclass gives the count distribution.

    Arguments:
        net: from a context (..., latent_dim) to (..., 2, *event_shape): the logit of the gate, and the mean of the
            counts before `positive`.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_rate: the floor of the mean.

    Raises:
        ValueError: a net of the wrong output shape.
    """

    def __init__(self, net: nn.Module, event_shape: Shape | None, min_rate: float):
        super().__init__()
        self.net, self.min_rate = net, min_rate
        self.event_shape = event_shape_of(net, event_shape, (2,), owner=type(self).__name__)

    @abstractmethod
    def counts(self, mean: Tensor) -> ElementwiseDistribution:
        """c: the counts of that mean, with no extra zeros."""

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(event_shape))

    @property
    def support(self) -> Support:
        """0, 1, 2, …."""
        return whole_numbers

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        gate, raw = parameters_of(self.net, context, (2, *self.event_shape)).unbind(-1 - len(self.event_shape))
        distribution = ZeroInflatedDistribution(gate, self.counts(positive(raw, self.min_rate)))
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start the gates at 10 % and the counts so that the means are those of the data, at least 0.01."""
        bias = output_bias_of(self.net)
        if bias is not None:
            mean = x.to(bias).mean(0).clamp(min=0.01) / (1 - _FIRST_GATE)
            bias[0].copy_(torch.full_like(mean, _FIRST_GATE).logit())
            bias[1].copy_(raw_of(mean, self.min_rate))


class ZeroInflatedPoisson(ZeroInflated):
    """Independent zero-inflated Poisson counts whose gates and rates are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to (..., 2, *event_shape): the logit of the gate, and the rate before
            `positive`.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_rate: the floor of the rate.

    Returns (when called):
        A distribution over x in {0, 1, 2, …}; log-probabilities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("lambert1992zero",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="counts", discrete=True, encoder_view="log1p", richer=("zero-inflated-negative-binomial",)
    )

    def __init__(self, net: nn.Module, event_shape: Shape | None = None, min_rate: float = 1e-6):
        super().__init__(net, event_shape, min_rate)

    def counts(self, mean: Tensor) -> PoissonDistribution:
        """Poisson(mean)."""
        return PoissonDistribution(mean)


class ZeroInflatedNegativeBinomial(ZeroInflated):
    """Independent zero-inflated negative binomial counts whose gates and means are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to (..., 2, *event_shape): the logit of the gate, and the mean before
            `positive`.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_rate: the floor of the mean and of the inverse dispersion, which is learned for each dimension.

    Returns (when called):
        A distribution over x in {0, 1, 2, …}; log-probabilities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("lopez2018deep",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(domain="counts", discrete=True, encoder_view="log1p")

    def __init__(self, net: nn.Module, event_shape: Shape | None = None, min_rate: float = 1e-6):
        super().__init__(net, event_shape, min_rate)
        self.raw_inverse_dispersion = nn.Parameter(torch.zeros(self.event_shape))

    def counts(self, mean: Tensor) -> NegativeBinomialDistribution:
        """NB(mean, r), r learned."""
        return NegativeBinomialDistribution(mean, positive(self.raw_inverse_dispersion, self.min_rate))


class ZeroInflatedDistribution(ElementwiseDistribution):
    """A count distribution with extra zeros, elementwise.

    Arguments:
        gate_logits: the logit of π.
        counts: c, with the same batch shape.
    """

    has_rsample = False

    def __init__(self, gate_logits: Tensor, counts: ElementwiseDistribution):
        super().__init__(gate_logits)
        self.gate_logits, self.counts = gate_logits, counts

    def expand(self, batch_shape: _size, _instance: object = None) -> ZeroInflatedDistribution:
        """The same distribution with its parameters expanded to a larger batch shape."""
        counts = self.counts.expand(batch_shape)
        assert isinstance(counts, ElementwiseDistribution)
        return ZeroInflatedDistribution(self.gate_logits.expand(batch_shape), counts)

    @property
    def mean(self) -> Tensor:
        """(1 − π) m."""
        return torch.sigmoid(-self.gate_logits) * self.counts.mean

    @property
    def variance(self) -> Tensor:
        """(1 − π)(v + π m²)."""
        spread = self.counts.variance + torch.sigmoid(self.gate_logits) * self.counts.mean**2
        return torch.sigmoid(-self.gate_logits) * spread

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        counted = logsigmoid(-self.gate_logits) + self.counts.log_prob(value)
        return torch.where(value == 0, torch.logaddexp(logsigmoid(self.gate_logits), counted), counted)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        assert isinstance(self.counts, HasCumulative)
        of_counts, parameters = self.counts.cumulative()
        return partial(distribution_functions.zero_inflated, of_counts), (self.gate_logits, *parameters)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw counts: (*sample_shape, *batch_shape)."""
        with torch.no_grad():
            counts = self.counts.sample(sample_shape)
            return torch.where(torch.rand_like(counts) < torch.sigmoid(self.gate_logits), 0.0, counts)
