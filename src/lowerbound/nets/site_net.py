"""Nets for autoregressive distributions: the parameters of every site, from a causal trunk and a head of channels.

A site is one channel of one position (a pixel, a place in a sequence). The trunk gives features of every position that
are a function of earlier positions and the context; the head makes the parameters of the channels of a position from
its features and the channels before:

    f_i = trunk(u_<i, c)                u_i = what is seen of the values at position i, and a 1
    θ_ij = W_j σ(A f_i + B_j u_i,<j) + b_ij

The 1 tells a position from the zeros around an image. b_ij is an offset for each site, which starts at the data.

While training, each position may be hidden from the others with a probability (`position_dropout`): it is then seen as
if it lay outside. This is the word dropout of Bowman et al. (2016, arXiv:1511.06349, §3.1); it makes a latent variable
worth its rate. For any hidden set the product of the conditionals is a normalised p(x), so that bounds remain bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from lowerbound.nets.causal_transformer import CausalTransformer
from lowerbound.nets.masked_convolution import MaskedConvolution
from lowerbound.nets.shapes import Shape, as_shape, numel

__all__ = ["CausalNetwork", "CausalTrunk", "SiteNet", "make_site_net"]

CausalNetwork: TypeAlias = Literal["convolution", "transformer"]


@runtime_checkable
class CausalTrunk(Protocol):
    """Features of D positions, those of position i being a function of what is seen before i and of the context."""

    features: int

    def __call__(self, seen: Tensor, context: Tensor | None) -> Tensor:
        """From (N, D, inputs) and a context (N, M) or (N, M, *positions) to (N, D, features), in one pass."""
        ...

    def begin(self, num: int, context: Tensor | None) -> Any:
        """A cache before the first position."""
        ...

    def advance(self, cache: Any, position: int, before: Tensor | None) -> Tensor:
        """The features (N, features) of a position, from (N, inputs) at the one before it (None for the first)."""
        ...


@dataclass
class _Cache:
    trunk: Any
    seen: Tensor  # (N, channels, inputs of one) at this position
    features: Tensor | None = None


class SiteNet(nn.Module):
    """A causal net over the sites of x (see `autoregressive.CausalNet`).

    Arguments:
        trunk: from the numbers seen at earlier positions, channels × `num_seen` + 1, to features.
        site_shape: (channels, height, width), (height, width) or (length,).
        num_parameters: P, of one site.
        view: from values (..., *value_shape) to the numbers (..., num_seen) that are seen of them.
        value_shape: shape of the value of one site.
        num_seen: how many numbers are seen of one value.
        context_shape: (M,) or (M, *positions); None for no context.
        position_dropout: the probability that a position is hidden from the others while training.

    Raises:
        ValueError: a probability outside of [0, 1).
    """

    takes_leading_axes: bool = False

    def __init__(
        self,
        trunk: nn.Module,
        site_shape: tuple[int, ...],
        num_parameters: int,
        *,
        view: Callable[[Tensor], Tensor],
        value_shape: tuple[int, ...] = (),
        num_seen: int = 1,
        context_shape: tuple[int, ...] | None = None,
        position_dropout: float = 0.0,
    ):
        super().__init__()
        if not 0 <= position_dropout < 1:
            raise ValueError(
                f"SiteNet got position_dropout={position_dropout:g} and expected a probability in [0, 1); 0 hides none."
            )
        assert isinstance(trunk, CausalTrunk)
        self.trunk, self.view, self.position_dropout = trunk, view, position_dropout
        self.site_shape, self.value_shape, self.context_shape = site_shape, value_shape, context_shape
        self.num_channels, self.num_seen = channels_of(site_shape), num_seen
        self.head = ChannelHead(trunk.features, self.num_channels, num_seen, num_parameters)
        self.offset = nn.Parameter(torch.zeros(*site_shape, num_parameters))

    def forward(self, x: Float[Tensor, "row *shape"], context: Tensor | None = None) -> Float[Tensor, "row ..."]:
        """The parameters (N, *sites, P) of x (N, *sites, *value) and a context (N, *context_shape)."""
        u = self.view(x).reshape(len(x), self.num_channels, -1, self.num_seen).transpose(1, 2)  # position, channel
        keep = u.new_ones(*u.shape[:2], 1)
        if self.training and self.position_dropout > 0:
            keep = torch.bernoulli((1 - self.position_dropout) * keep)
        f = self.trunk(torch.cat([u.flatten(2) * keep, keep], -1), context)
        parameters = self.head(f, u * keep.unsqueeze(-1)).transpose(1, 2)
        return parameters.reshape(len(x), *self.site_shape, -1) + self.offset

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """A cache for drawing `num` x."""
        return _Cache(self.trunk.begin(num, context), self.offset.new_zeros(num, self.num_channels, self.num_seen))

    def step(self, cache: _Cache, site: int, before: Tensor | None) -> Float[Tensor, "row parameter"]:
        """The parameters of one site, given the value of the site before it."""
        position, channel = divmod(site, self.num_channels)
        if before is not None:
            cache.seen[:, channel - 1] = self.view(before)
        if channel == 0:
            one = cache.seen.new_ones(len(cache.seen), 1)
            seen = None if before is None else torch.cat([cache.seen.flatten(1), one], -1)
            cache.features = self.trunk.advance(cache.trunk, position, seen)
        assert cache.features is not None
        return self.head.of_channel(channel, cache.features, cache.seen) + self._offsets()[channel, position]

    def _offsets(self) -> Tensor:
        """b (channel, position, P)."""
        return self.offset.view(self.num_channels, -1, self.offset.shape[-1])


class ChannelHead(nn.Module):
    """θ_j = W_j σ(A f + B_j u_<j) + b_j: the parameters of each channel of a position, given the channels before it."""

    def __init__(self, features: int, num_channels: int, num_seen: int, num_parameters: int):
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.earlier = nn.ModuleList(nn.Linear(c * num_seen, features, bias=False) for c in range(1, num_channels))
        self.out = nn.ModuleList(nn.Linear(features, num_parameters) for _ in range(num_channels))

    def forward(self, f: Float[Tensor, "*lead feature"], u: Float[Tensor, "*lead channel seen"]) -> Tensor:
        """(..., channel, P)."""
        return torch.stack([self.of_channel(c, f, u) for c in range(len(self.out))], -2)

    def of_channel(
        self, channel: int, f: Float[Tensor, "*lead feature"], u: Tensor
    ) -> Float[Tensor, "*lead parameter"]:
        """Those of one channel, which reads the channels before it."""
        h = self.hidden(silu(f))
        if channel > 0:
            h = h + self.earlier[channel - 1](u[..., :channel, :].flatten(-2))
        return self.out[channel](silu(h))


def make_site_net(
    site_shape: Shape,
    num_parameters: int,
    *,
    view: Callable[[Tensor], Tensor],
    value_shape: tuple[int, ...] = (),
    num_seen: int = 1,
    context_shape: Shape | None = None,
    network: CausalNetwork = "convolution",
    channels: int = 16,
    layers: int = 4,
    kernel: int = 3,
    position_dropout: float = 0.0,
) -> SiteNet:
    """A `SiteNet` with a masked convolution or a transformer as its trunk.

    Arguments:
        site_shape: (channels, height, width), (height, width) or a length.
        num_parameters: P, of one site.
        view: see `SiteNet`.
        value_shape: see `SiteNet`.
        num_seen: see `SiteNet`.
        context_shape: (M,) or (M, *positions); None for no context.
        network: "convolution" for maps, "transformer" for maps and vectors.
        channels: width of every layer.
        layers: how many.
        kernel: of the layers of a convolution after the first.
        position_dropout: see `SiteNet`.

    Raises:
        ValueError: a shape that the network does not take, or sizes that are too small.
    """
    sites = as_shape(site_shape)
    if not 1 <= len(sites) <= 3:
        raise ValueError(
            f"An autoregressive net got sites of shape {sites} and expected (channels, height, width), (height, width) "
            "or a length; reshape the data."
        )
    positions, context = sites[-2:], None if context_shape is None else as_shape(context_shape)
    if context is not None and context[1:] not in ((), positions):
        raise ValueError(
            f"An autoregressive net over {sites} got a context of shape {context} and expected a vector or a map "
            f"(M, {', '.join(map(str, positions))}); change the output of the net of the context."
        )
    inputs, from_context = channels_of(sites) * num_seen + 1, 0 if context is None else context[0]
    if network == "transformer":
        trunk: nn.Module = CausalTransformer(numel(positions), inputs, channels, layers, context=from_context)
    elif len(sites) == 1:
        raise ValueError(
            f"A masked convolution is over maps and got sites of shape {sites}; take the network "
            "transformer for vectors."
        )
    else:
        trunk = MaskedConvolution((sites[-2], sites[-1]), inputs, channels, layers, kernel, context=from_context)
    return SiteNet(
        trunk,
        sites,
        num_parameters,
        view=view,
        value_shape=value_shape,
        num_seen=num_seen,
        context_shape=context,
        position_dropout=position_dropout,
    )


def channels_of(site_shape: tuple[int, ...]) -> int:
    """How many sites share a position."""
    return site_shape[0] if len(site_shape) == 3 else 1
