"""p(z | c) = Π_d p(z_d | z_<d, c) over maps of binary latents or of codes, by the nets of autoregressive likelihoods.

    categories=None     z in {0, 1}, of shape (H, W) or (C, H, W)
    categories=K        one-hot codes z, of shape (H, W, K) or (C, H, W, K)

A masked convolution or a transformer gives all conditionals in one pass, and draws compute every activation once
(`autoregressive`). `priors.AutoregressiveBernoulli` and `AutoregressiveCategorical` do the same for short vectors by a
masked perceptron. Of pixels it is the model of van den Oord et al. (2016, arXiv:1601.06759), of codes the prior of van
den Oord et al. (2017, arXiv:1711.00937, §3.3). The optional context is a class, or a map of an upper level of latents;
it enters every layer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution

from lowerbound.distributions.autoregressive import AutoregressiveDistribution
from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.site_net import CausalNetwork, make_site_net
from lowerbound.protocols import Context

__all__ = ["AutoregressiveMap"]


class AutoregressiveMap(nn.Module):
    """Binary latents or codes on a map, each given those before it in raster order, and given a context.

    Arguments:
        latent_shape: (height, width) or (channels, height, width) of the latents; or a length, for a transformer.
        categories: K, how many values a code takes; None for binary latents.
        context_shape: (M,), or (M, height, width) for a map; None for none, and then a context is ignored.
        network: "convolution" for maps, "transformer" for maps and vectors.
        channels: width of the layers.
        layers: how many.
        kernel: of a convolution.

    Returns (when called):
        A distribution of batch shape (), or that of its contexts, and event shape latent_shape, or (*latent_shape, K).

    Raises:
        ValueError: fewer than two categories, a shape that the network does not take, or (when called) a context that
            is missing or of another shape.

    >>> prior = AutoregressiveMap((3, 4), categories=5, channels=8, layers=2)
    >>> prior().sample((2,)).shape
    torch.Size([2, 3, 4, 5])
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2016pixel", "vandenoord2017neural")

    def __init__(
        self,
        latent_shape: Shape,
        categories: int | None = None,
        context_shape: Shape | None = None,
        network: CausalNetwork = "convolution",
        channels: int = 32,
        layers: int = 4,
        kernel: int = 3,
    ):
        super().__init__()
        if categories is not None and categories < 2:
            raise ValueError(f"AutoregressiveMap got categories={categories} and needs at least 2, or None for bits.")
        self.latent_shape, self.categories = as_shape(latent_shape), categories
        value_shape = () if categories is None else (categories,)
        self.event_shape = (*self.latent_shape, *value_shape)
        self.causal = make_site_net(
            self.latent_shape,
            categories or 1,
            view=_symmetric if categories is None else _unchanged,
            value_shape=value_shape,
            num_seen=categories or 1,
            context_shape=context_shape,
            network=network,
            channels=channels,
            layers=layers,
            kernel=kernel,
        )

    def forward(self, context: Context | None = None) -> AutoregressiveDistribution:
        """p(z | context)."""
        family = _bit if self.categories is None else _code
        if self.causal.context_shape is None:
            return AutoregressiveDistribution(self.causal, family, self.event_shape)
        if isinstance(context, tuple):
            raise ValueError(
                f"AutoregressiveMap got a context of {len(context)} tensors and reads one; join them into one."
            )
        return AutoregressiveDistribution(self.causal, family, self.event_shape, context)

    @torch.no_grad()
    def initialize_from_latents(self, z: Float[Tensor, "row *event"]) -> None:
        """Start each site at its frequencies, with one count spread over the values."""
        if self.categories is None:
            mean = (z.sum(0) + 0.5) / (len(z) + 1)
            self.causal.offset.copy_(mean.logit()[..., None])
        else:
            self.causal.offset.copy_(torch.log((z.sum(0) + 1 / self.categories) / (len(z) + 1)))


def _bit(parameters: Tensor) -> Distribution:
    return BernoulliDistribution(logits=parameters[..., 0], validate_args=False)


def _code(parameters: Tensor) -> Distribution:
    return LinearOneHotCategorical(logits=parameters, validate_args=False)


def _symmetric(z: Tensor) -> Tensor:
    return (2 * z - 1)[..., None]


def _unchanged(z: Tensor) -> Tensor:
    return z
