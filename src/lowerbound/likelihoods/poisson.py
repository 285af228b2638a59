"""p(x | z) = Π_d e^(−λ_d) λ_d^x_d / x_d!: counts x in {0, 1, 2, …} with mean and variance λ (Nelder &
Wedderburn 1972, generalised linear models).

The rate is λ = ε + softplus(r + c), which is finite for every output of the net. In terms of the deviance,

    log p(x) = −[x log(x/λ) − x + λ] − ½ log 2πx − ρ(x)      (x > 0; ρ is Stirling's remainder),

it is accurate in float32 for counts in the millions, where x log λ − λ − log x! is a difference of large numbers. log p
is NaN at negative x and at NaN.

Draws above a rate of 10¹⁵ are those of Poisson(10⁶), moved to mean λ and variance λ: `torch.poisson` counts in 64-bit
integers, which overflow at 9·10¹⁸. Their skewness is 10⁻³ where it should be below 10⁻⁷; mean and variance are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.likelihoods.stirling import HALF_LOG_TWO_PI, log_ratio, stirling_remainder
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, counts

__all__ = ["Poisson", "PoissonDistribution", "draw_counts"]

_LARGE_RATE, _NEARLY_NORMAL = 1e15, 1e6


class Poisson(nn.Module):
    """Independent Poisson counts whose rates are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to (..., *event_shape): the rate before `positive`.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_rate: the floor ε of λ.

    Returns (when called):
        A distribution over x in {0, 1, 2, …}; log-probabilities are nats per datum, summed over `event_shape`.
    """

    cites: ClassVar[tuple[str, ...]] = ("nelder1972generalized",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="counts", discrete=True, encoder_view="log1p", richer=("negative-binomial", "zero-inflated-poisson")
    )

    def __init__(self, net: nn.Module, event_shape: Shape | None = None, min_rate: float = 1e-6):
        super().__init__()
        self.net, self.min_rate = net, min_rate
        self.event_shape = event_shape_of(net, event_shape, (), owner="Poisson")

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(event_shape)

    @property
    def support(self) -> Support:
        """0, 1, 2, …."""
        return counts

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        rate = positive(parameters_of(self.net, context, self.event_shape), self.min_rate)
        return Independent(PoissonDistribution(rate), len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias at the mean counts, at least 0.01."""
        bias = output_bias_of(self.net)
        if bias is not None:
            bias.copy_(raw_of(x.to(bias).mean(0).clamp(min=0.01), self.min_rate))


class PoissonDistribution(ElementwiseDistribution):
    """The Poisson distribution, elementwise.

    Arguments:
        rate: λ > 0.
    """

    has_rsample = False

    def __init__(self, rate: Tensor):
        super().__init__(rate)
        self.rate = rate

    @property
    def mean(self) -> Tensor:
        """λ."""
        return self.rate

    @property
    def variance(self) -> Tensor:
        """λ."""
        return self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        some = value != 0
        x = torch.where(some, value, 1.0)
        fit = x * log_ratio(self.rate, x, self.rate - x) + x - self.rate
        volume = 0.5 * torch.log(x) + HALF_LOG_TWO_PI + stirling_remainder(x)
        return torch.where(some, fit - volume, -self.rate)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.poisson, (self.rate,)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw counts: (*sample_shape, *batch_shape)."""
        with torch.no_grad():
            return draw_counts(self.rate.expand(self._extended_shape(sample_shape)))


def draw_counts(rate: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Draw from Poisson(λ) for any λ ≥ 0; an infinite λ counts as the largest finite number.

    >>> bool(draw_counts(torch.tensor(1e30)) > 9e29)
    True
    """
    rate = rate.clamp(max=torch.finfo(rate.dtype).max)
    large = rate > _LARGE_RATE
    draws = torch.poisson(torch.where(large, _NEARLY_NORMAL, rate))
    moved = rate + torch.sqrt(rate / _NEARLY_NORMAL) * (draws - _NEARLY_NORMAL)
    return torch.where(large, moved.round(), draws)
