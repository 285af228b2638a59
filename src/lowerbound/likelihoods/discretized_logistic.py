"""p(x | z) = Π_d [F((x_d + h − μ_d)/s_d) − F((x_d − h − μ_d)/s_d)], F the logistic sigmoid: levels of pixels as bins.

From Kingma et al. (2016, arXiv:1606.04934) and Salimans et al. (2017, arXiv:1701.05517, eq. 2). x holds the levels
k/(K − 1) in [0, 1], K = 256 for bytes, and is rounded to the nearest. Location and scale are in units where levels run
from −1 to 1, so that half a bin is h = 1/(K − 1). The lowest and the highest bin reach to −∞ and +∞, so that the K
probabilities sum to one.

With a, b the standardised ends of a bin, a difference of sigmoids would cancel in both tails. But

    F(b) − F(a) = F(b) F(−a) (1 − e^(a−b)),      log = log F(b) + log F(−a) + log(1 − e^(−2h/s))

is a sum of three terms that are accurate and differentiable for every a, b and s; so that the midpoint approximation of
earlier implementations is not needed. The outermost bins have only log F(b) or log F(−a).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent
from torch.nn.functional import logsigmoid
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, levels

__all__ = [
    "DiscretizedLogistic",
    "DiscretizedLogisticDistribution",
    "draw_level",
    "log_prob_of_level",
    "moments_of_level",
]


class DiscretizedLogistic(nn.Module):
    """Independent discretized logistic variables whose locations and scales are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to (..., 2, *event_shape): the location, in units where levels run from
            −1 to 1, and the scale before `positive`.
        num_levels: K, at least 2: 256 for 8-bit images, 32 for 5-bit ones.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_scale: the floor of s; the default is an eighth of a bin of 8-bit images.

    Returns (when called):
        A distribution over x in {0, 1/(K − 1), …, 1}; log-probabilities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: fewer than two levels, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2016improved", "salimans2017pixelcnn")

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="levels",
        discrete=True,
        baselines=("shrunk_gaussian",),
        richer=("discretized-logistic-mixture",),
        from_data=("num_levels",),
    )

    def __init__(
        self,
        net: nn.Module,
        num_levels: int = 256,
        event_shape: Shape | None = None,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        if num_levels < 2:
            raise ValueError(f"DiscretizedLogistic got num_levels={num_levels} and expected at least 2.")
        self.net, self.num_levels, self.min_scale = net, num_levels, min_scale
        self.event_shape = event_shape_of(net, event_shape, (2,), owner="DiscretizedLogistic")

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(event_shape))

    @property
    def support(self) -> Support:
        """The levels 0, 1/(K − 1), …, 1."""
        return levels(self.num_levels)

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        loc, raw = parameters_of(self.net, context, (2, *self.event_shape)).unbind(-1 - len(self.event_shape))
        scale = positive(raw, self.min_scale)
        distribution = DiscretizedLogisticDistribution(loc, scale, self.num_levels)
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias of the location at the mean of the data."""
        bias = output_bias_of(self.net)
        if bias is not None:
            bias[0].copy_(2 * x.to(bias).mean(0) - 1)


class DiscretizedLogisticDistribution(ElementwiseDistribution):
    """A logistic variable discretized to K levels in [0, 1], elementwise.

    Arguments:
        loc: μ, in units where levels run from −1 to 1.
        scale: s > 0, in the same units.
        num_levels: K.

    >>> levels = torch.arange(256) / 255
    >>> p = DiscretizedLogisticDistribution(torch.tensor(0.1), torch.tensor(0.02))
    >>> p.log_prob(levels).exp().sum()
    tensor(1.0000)
    """

    has_rsample = False

    def __init__(self, loc: Tensor, scale: Tensor, num_levels: int = 256):
        super().__init__(loc, scale)
        self.loc, self.scale = self.parameters
        self.num_levels = num_levels

    def _like(self, *parameters: Tensor) -> DiscretizedLogisticDistribution:
        return DiscretizedLogisticDistribution(*parameters, num_levels=self.num_levels)

    @property
    def mean(self) -> Tensor:
        """E[x] in [0, 1], summed over the levels."""
        return moments_of_level(self.loc, self.scale, self.num_levels)[0]

    @property
    def variance(self) -> Tensor:
        """Var[x], summed over the levels."""
        return moments_of_level(self.loc, self.scale, self.num_levels)[1]

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        return log_prob_of_level(value, self.loc, self.scale, self.num_levels)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.level, (self.loc, self.scale, torch.full_like(self.loc, self.num_levels))

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw levels: (*sample_shape, *batch_shape), in [0, 1]."""
        shape = self._extended_shape(sample_shape)
        return draw_level(self.loc.expand(shape), self.scale.expand(shape), self.num_levels)


def log_prob_of_level(
    x: Float[Tensor, "*#shape"],
    loc: Float[Tensor, "*#shape"],
    scale: Float[Tensor, "*#shape"],
    num_levels: int,
) -> Float[Tensor, "*shape"]:
    """log P(level = x), nats, x in [0, 1] rounded to the nearest level; loc and scale in [−1, 1] units.

    Beyond the outermost levels it is −∞; of NaN it is NaN.
    """
    top = num_levels - 1
    level = (x * top).round()
    offset, half = 2 * level / top - 1 - loc, 1 / top
    below_end = logsigmoid((offset + half) / scale)
    above_start = logsigmoid((half - offset) / scale)
    width = torch.log(-torch.expm1(-2 * half / scale))
    log_prob = torch.where(level == top, 0.0, below_end) + torch.where(level == 0, 0.0, above_start)
    outermost, outside = (level == 0) | (level == top), (level < 0) | (level > top)
    return log_prob + torch.where(outermost, 0.0, torch.where(outside, -torch.inf, width))


@torch.no_grad()
def draw_level(
    loc: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"], num_levels: int
) -> Float[Tensor, "*shape"]:
    """Draw one level in [0, 1] for each element of loc and scale."""
    u = torch.rand_like(loc).clamp(min=torch.finfo(loc.dtype).tiny)
    y = loc + scale * (torch.log(u) - torch.log1p(-u))
    top = num_levels - 1
    return (0.5 * (y + 1) * top).round().clamp(0, top) / top


def moments_of_level(
    loc: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"], num_levels: int
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Mean and variance of x, by E[k] = Σ_j P(k > j) and E[k²] = Σ_j (2j + 1) P(k > j), one level at a time."""
    top = num_levels - 1
    first, second = torch.zeros_like(loc), torch.zeros_like(loc)
    for j in range(top):
        exceeds = torch.sigmoid((loc - ((2 * j + 1) / top - 1)) / scale)
        first, second = first + exceeds, second + (2 * j + 1) * exceeds
    return first / top, (second - first**2).clamp(min=0) / top**2
