"""Mixtures of discretized logistics, channels coupled linearly (Salimans et al. 2017, arXiv:1701.05517, eq. 2 and 3).

For each pixel, a component m ~ π and then its channels in order, each a discretized logistic around

    μ_c(m, x_<c) = μ_cm + Σ_{j<c} tanh(γ_cjm) (2 x_j − 1),          p(x) = Σ_m π_m Π_c P(x_c | μ_c(m, x_<c), s_cm).

Red is drawn alone, green given red, blue given both; a single channel has no coupling. Per pixel and component the net
gives one logit of π, then for C channels C locations, C scales before `positive` and C(C − 1)/2 couplings γ: 10 numbers
for RGB, 3 for grey, and P = 10 M or 3 M in all. The axis of length P comes first and the pixels follow:

    event (C, H, W), C > 1      net output (P, H, W)
    event (1, H, W)             net output (P, 1, H, W)
    event (H, W)                net output (P, H, W)

x holds the levels k/(K − 1) in [0, 1]; the bins and their tails are those of `discretized_logistic`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import one_hot
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.distributions.in_turn import Stated
from lowerbound.hooks import Turn
from lowerbound.likelihoods.discretized_logistic import (
    draw_level,
    log_prob_of_level,
    moments_of_level,
)
from lowerbound.likelihoods.outputs import output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape, numel, out_shape_of
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, levels

__all__ = ["DiscretizedLogisticMixture", "DiscretizedLogisticMixtureDistribution"]


class DiscretizedLogisticMixture(nn.Module):
    """A mixture of discretized logistics for each pixel, whose parameters are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to `parameter_shape(event_shape, num_components)`.
        num_components: M.
        num_levels: K, at least 2.
        event_shape: (C, H, W) or (H, W); read from `net.out_shape` if the net states it.
        min_scale: the floor of s, in units where levels run from −1 to 1.

    Returns (when called):
        A distribution over x in {0, 1/(K − 1), …, 1}; log-probabilities are nats per datum, summed over pixels.

    Raises:
        ValueError: too few levels or components, an event that is not an image, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("salimans2017pixelcnn",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="levels", discrete=True, baselines=("shrunk_gaussian",), from_data=("num_levels",)
    )

    def __init__(
        self,
        net: nn.Module,
        num_components: int = 10,
        num_levels: int = 256,
        event_shape: Shape | None = None,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        if num_levels < 2 or num_components < 1:
            raise ValueError(
                f"DiscretizedLogisticMixture got num_levels={num_levels} and num_components={num_components} "
                "and expected at least 2 levels and 1 component."
            )
        self.net, self.min_scale = net, min_scale
        self.num_components, self.num_levels = num_components, num_levels
        self.event_shape = _event_shape(net, event_shape, num_components)

    @staticmethod
    def parameter_shape(event_shape: Shape, num_components: int = 10) -> tuple[int, ...]:
        """What its net must output per datum.

        >>> DiscretizedLogisticMixture.parameter_shape((3, 8, 8), num_components=5)
        (50, 8, 8)
        """
        shape = as_shape(event_shape)
        if len(shape) not in (2, 3):
            raise ValueError(
                f"DiscretizedLogisticMixture got event_shape={shape} and expected an image, "
                "(height, width) or (channels, height, width)."
            )
        channels = shape[0] if len(shape) == 3 else 1
        pixels = shape[1:] if channels > 1 else shape
        return (num_components * _num_parameters(channels), *pixels)

    @property
    def support(self) -> Support:
        """The levels 0, 1/(K − 1), …, 1."""
        return levels(self.num_levels)

    def forward(self, context: Context) -> DiscretizedLogisticMixtureDistribution:
        """p(x | context)."""
        shape = self.parameter_shape(self.event_shape, self.num_components)
        parameters = parameters_of(self.net, context, shape)
        lead = parameters.shape[: parameters.ndim - len(shape)]
        return DiscretizedLogisticMixtureDistribution(
            parameters.reshape(*lead, self.num_components, -1, numel(shape[1:])),
            self.event_shape,
            self.num_levels,
            self.min_scale,
        )

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Spread the locations of the components over the quantiles of each channel, the same for every pixel."""
        bias = output_bias_of(self.net)
        if bias is not None:
            channels = self.event_shape[0] if len(self.event_shape) == 3 else 1
            values = x.to(bias).reshape(len(x), channels, -1).movedim(1, 0).flatten(1).sort(-1).values
            rank = (torch.arange(self.num_components) + 0.5) / self.num_components * values.shape[-1]
            locs = 2 * values[:, rank.long().to(values.device)] - 1
            per_component = bias.view(self.num_components, -1, *bias.shape[1:])
            ones = [1] * (bias.ndim - 1)
            per_component[:, 1 : 1 + channels].copy_(locs.T.reshape(-1, channels, *ones))


class DiscretizedLogisticMixtureDistribution(Distribution):
    """An image of independent pixels, each a mixture of discretized logistics over its channels.

    Arguments:
        parameters: (*batch, M, 1 + 2C + C(C − 1)/2, pixels): the logits of π, the C locations, the C
            raw scales and the couplings before tanh.
        event_shape: (C, H, W) or (H, W), with H W = pixels.
        num_levels: K.
        min_scale: the floor of s.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, parameters: Tensor, event_shape: tuple[int, ...], num_levels: int, min_scale: float):
        self.num_channels = event_shape[0] if len(event_shape) == 3 else 1
        self.num_levels, self.min_scale, self.parameters = num_levels, min_scale, parameters
        super().__init__(parameters.shape[:-3], torch.Size(event_shape), validate_args=False)
        channels = self.num_channels
        self.log_weights = parameters[..., 0, :].log_softmax(-2)
        self.locs = parameters[..., 1 : 1 + channels, :]
        self.scales = positive(parameters[..., 1 + channels : 1 + 2 * channels, :], min_scale)
        self.couplings = torch.tanh(parameters[..., 1 + 2 * channels :, :])

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with its parameters expanded to a larger batch shape."""
        parameters = self.parameters.expand(*batch_shape, *self.parameters.shape[-3:])
        return DiscretizedLogisticMixtureDistribution(
            parameters, tuple(self.event_shape), self.num_levels, self.min_scale
        )

    @property
    def mean(self) -> Tensor:
        """E[x] in [0, 1]: exact for one channel; with coupling, E[x_<c | m] replaces x_<c in the location."""
        x: list[Tensor] = []
        for c in range(self.num_channels):
            loc = self._loc(self.locs, self.couplings, x, c)
            x.append(moments_of_level(loc, self.scales[..., c, :], self.num_levels)[0])
        mean = (torch.stack(x, -2) * self.log_weights.exp().unsqueeze(-2)).sum(-3)
        return mean.reshape(self._extended_shape())

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x), nats per datum; value (..., *batch_shape, *event_shape) -> (..., *batch_shape)."""
        pixels = value.reshape(*value.shape[: value.ndim - len(self.event_shape)], self.num_channels, -1)
        x = pixels.unsqueeze(-3).unbind(-2)  # each (..., 1, pixels), against (..., M, pixels)
        log_prob = self.log_weights
        for c in range(self.num_channels):
            loc = self._loc(self.locs, self.couplings, x, c)
            log_prob = log_prob + log_prob_of_level(x[c], loc, self.scales[..., c, :], self.num_levels)
        return log_prob.logsumexp(-2).sum(-1)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        pixels, log_w, x = self.locs.shape[-1], self.log_weights, list[Tensor]()
        for c in range(self.num_channels):
            loc, scale = self._loc(self.locs, self.couplings, x, c), self.scales[..., c, :]
            weight = log_w.softmax(-2)
            of_c = (weight.mT, loc.mT, scale.mT, torch.full_like(loc[..., 0, :], self.num_levels))
            p = Stated(distribution_functions.mixture_of_levels, of_c, (rows, pixels))
            value = (yield p, torch.arange(c * pixels, (c + 1) * pixels)).unsqueeze(-2)
            log_w = log_w + log_prob_of_level(value, loc, scale, self.num_levels)
            x.append(value)

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw images of levels: (*sample_shape, *batch_shape, *event_shape)."""
        lead = self._extended_shape(sample_shape)[: -len(self.event_shape)]
        noise = self.log_weights.new_empty(*lead, *self.log_weights.shape[-2:]).exponential_()
        component = (self.log_weights - noise.log()).argmax(-2)
        chosen = one_hot(component, self.log_weights.shape[-2]).movedim(-1, -2).unsqueeze(-2)
        locs, scales, couplings = ((chosen * part).sum(-3) for part in (self.locs, self.scales, self.couplings))
        x: list[Tensor] = []
        for c in range(self.num_channels):
            x.append(draw_level(self._loc(locs, couplings, x, c), scales[..., c, :], self.num_levels))
        return torch.stack(x, -2).reshape(*lead, *self.event_shape)

    @staticmethod
    def _loc(locs: Tensor, couplings: Tensor, x: list[Tensor] | tuple[Tensor, ...], c: int) -> Tensor:
        """μ_c(m, x_<c): the location of channel c given the channels before it."""
        loc, first = locs[..., c, :], c * (c - 1) // 2
        for j in range(c):
            loc = loc + couplings[..., first + j, :] * (2 * x[j] - 1)
        return loc


def _num_parameters(channels: int) -> int:
    return 1 + 2 * channels + channels * (channels - 1) // 2


def _event_shape(net: nn.Module, given: Shape | None, num_components: int) -> tuple[int, ...]:
    """The event shape as given, or from the net, whose P / M gives the number of channels."""
    owner, shape_of = "DiscretizedLogisticMixture", DiscretizedLogisticMixture.parameter_shape
    expected = None if given is None else shape_of(given, num_components)
    shape = out_shape_of(net, getattr(net, "out_shape", expected), owner=owner, argument="event_shape")
    if given is not None and shape == expected:
        return as_shape(given)
    counts = {num_components * _num_parameters(channels): channels for channels in range(1, 9)}
    if given is not None or len(shape) not in (3, 4) or shape[0] not in counts:
        raise ValueError(
            f"{owner} got a net of output shape {shape} and expected {expected or '(P, height, width)'}; "
            f"build the net with {owner}.parameter_shape(event_shape, num_components={num_components})."
        )
    channels = counts[shape[0]]
    return shape[1:] if channels == 1 else (channels, *shape[1:])
