"""p(x | z) = Π_d p(x_d | x_<d, z): pixels given those before them and z, in raster order (`autoregressive`).

A net turns z into a map c, which enters every layer of a causal net that reads x (Gulrajani et al. 2017,
arXiv:1611.05013, §3.1). The conditional p(x_d | …) of one pixel is any likelihood of single numbers, in words:

    site="bernoulli"                                        x is 0 or 1
    site="categorical(num_classes=17,unit_interval=True)"   17 levels without an order
    site="discretized-logistic(num_levels=17)"              17 levels with one
    site="discretized-logistic-mixture(num_components=5)"   256 levels, several modes

Such a likelihood explains nearly all of x by itself, and then z stays unused (rate 0). Remedies: a net that sees little
(few `layers`), `position_dropout`, a warm-up of the rate, `losses.Aggressive`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.distributions.autoregressive import AutoregressiveDistribution
from lowerbound.likelihoods.bernoulli import Bernoulli
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape, numel, out_shape_of
from lowerbound.nets.site_net import CausalNetwork, make_site_net
from lowerbound.protocols import Conditional, Context, InitializedFromData
from lowerbound.spelling import construct, find, inner, outputs_of, parse
from lowerbound.support import LikelihoodFacts, StatesFacts, Support, levels

__all__ = ["Autoregressive"]

_ONE = (1, 1)  # a site as an image of one pixel, which every likelihood of pixels takes


class Autoregressive(nn.Module):
    """Every element of x given z and the elements before it.

    Arguments:
        net: from a context (..., latent_dim) to a map (..., M, height, width), or to a vector (..., M); None for p(x)
            without a context, whose log p(x) is exact.
        event_shape: (channels, height, width), (height, width) or (length,); read from the map of the net if it is of
            one channel.
        site: the likelihood of one element, in words, with its options in parentheses.
        network: "convolution" for images, "transformer" for images and vectors.
        channels: width of the layers of the causal net.
        layers: how many; with the kernel they decide how far a pixel sees.
        kernel: of a convolution.
        context_channels: M, where the net is made from words.
        position_dropout: the probability that a pixel is hidden from later ones while training.

    Returns (when called):
        A distribution over x; log-probabilities are nats per datum. It has no mean in closed form (`shown`).

    Raises:
        ValueError: an event that is no image or vector, a net of another size, or a likelihood that is not one of
            single numbers.

    >>> from lowerbound.nets import MLP
    >>> p = Autoregressive(MLP(3, [16], (8, 6, 6)), channels=4)
    >>> p(torch.zeros(5, 3)).sample().shape
    torch.Size([5, 6, 6])
    """

    cites: ClassVar[tuple[str, ...]] = ("gulrajani2017pixelvae",)

    facts: LikelihoodFacts = replace(Bernoulli.facts, any_real=False, has_mean=False)

    def __init__(
        self,
        net: nn.Module | None,
        event_shape: Shape | None = None,
        site: str = "bernoulli",
        network: CausalNetwork = "convolution",
        channels: int = 16,
        layers: int = 4,
        kernel: int = 3,
        context_channels: int = 8,
        position_dropout: float = 0.0,
    ):
        super().__init__()
        context = None if net is None else out_shape_of(net, None, owner="Autoregressive", argument="net=PerDatum(...)")
        self.event_shape = _event_shape(event_shape, context)
        self.net, self._words, self._context_shape = net, _checked(site), context
        self.site = _site(self._words)
        self.facts = replace(self.site.facts, richer=(), any_real=False, has_mean=False)  # type: ignore[arg-type]
        view, num_seen = _view(self.site)
        self.causal = make_site_net(
            self.event_shape,
            numel(cast(nn.Module, self.site.net).out_shape),  # type: ignore[arg-type]
            view=view,
            value_shape=_ONE,
            num_seen=num_seen,
            context_shape=context,
            network=network,
            channels=channels,
            layers=layers,
            kernel=kernel,
            position_dropout=position_dropout,
        )

    @staticmethod
    def parameter_shape(event_shape: Shape, context_channels: int = 8) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (context_channels, *as_shape(event_shape)[-2:])

    @staticmethod
    def same_facts_as(site: object = "bernoulli", **options: Any) -> str:
        """The words of the likelihood whose facts are its own, given its options.

        Raises:
            ValueError: that is not one of single numbers.
        """
        return _checked(site)

    @property
    def support(self) -> Support:
        """That of one element; of a Bernoulli variable 0 and 1, for a grey value cannot be both and be read."""
        support = cast(StatesFacts, self.site).support
        if support.grid == (0.0, 1.0):
            return Support(description="0 and 1", contains=levels(2).contains, grid=support.grid)
        return support

    def forward(self, context: Context | None = None) -> AutoregressiveDistribution:
        """p(x | context)."""
        if self.net is None:
            return AutoregressiveDistribution(self.causal, self._family, self.event_shape)
        if context is None:
            raise ValueError(
                "Autoregressive got no context and has a net that reads one; give z, or make it with net=None."
            )
        c = parameters_of(self.net, context, self._context_shape)
        return AutoregressiveDistribution(self.causal, self._family, self.event_shape, c)

    def factorised(self, net: nn.Module | Callable[[tuple[int, ...]], nn.Module]) -> nn.Module:
        """The likelihood of the same family whose elements are independent given its context.

        Arguments:
            net: of the parameters of all elements, or a function from the shape of these to the net.
        """
        from lowerbound import likelihoods

        shape = outputs_of(likelihoods, self._words, self.event_shape)
        net = net if isinstance(net, nn.Module) else net(shape)
        return construct(likelihoods, self._words, net=net, event_shape=self.event_shape)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start each site at what its likelihood makes of the data alone, where it starts from data at all."""
        start = _Given(cast(Any, self.site.net).out_shape, bias=True)
        site = copy.deepcopy(self.site, {id(self.site.net): start})
        if not isinstance(site, InitializedFromData):
            return
        values, offsets = x.flatten(1), self.causal.offset.flatten(0, -2)
        for d in range(values.shape[1]):
            start.output_bias.zero_()
            site.initialize(values[:, d, None, None])
            offsets[d] = start.output_bias.flatten()

    def _family(self, parameters: Tensor) -> Distribution:
        return cast(Conditional, self.site)(parameters)


class _Given(nn.Module):
    """The net of the likelihood of one site: its output is what it is given, in the shape that the likelihood wants."""

    takes_leading_axes: bool = True
    output_bias: Tensor

    def __init__(self, out_shape: tuple[int, ...], bias: bool = False):
        super().__init__()
        self.out_shape = out_shape
        if bias:
            self.output_bias = nn.Parameter(torch.zeros(out_shape))

    def forward(self, parameters: Tensor) -> Tensor:
        """From (..., P) to (..., *out_shape)."""
        return parameters.unflatten(-1, self.out_shape)


def _checked(site: object) -> str:
    """The words of `site`, if they are those of a likelihood of single numbers."""
    from lowerbound import likelihoods

    words = inner(str(site))
    family = find(likelihoods, parse(words)[0])
    facts = getattr(family, "facts", None)
    if (
        not isinstance(facts, LikelihoodFacts)
        or facts.domain in ("columns", "tokens")
        or issubclass(family, Autoregressive)
    ):
        raise ValueError(
            f"Autoregressive got site={words!r}, which is no likelihood of single numbers; choose one such as "
            "bernoulli or discretized-logistic."
        )
    return words


def _site(words: str) -> nn.Module:
    """The likelihood of one element."""
    from lowerbound import likelihoods

    return construct(likelihoods, words, net=_Given(outputs_of(likelihoods, words, _ONE)), event_shape=_ONE)


def _view(site: nn.Module) -> tuple[Callable[[Tensor], Tensor], int]:
    """How the causal net sees values (..., 1, 1) of one element, and as how many numbers."""
    facts = cast(StatesFacts, site).facts
    if facts.encoder_view == "one-hot":
        num_classes = cast(Any, site).num_classes
        return partial(_one_hot, num_classes=num_classes), num_classes
    if facts.encoder_view == "log1p":
        return _log1p, 1
    return (_symmetric if facts.domain in ("unit interval", "levels") else _plain), 1


def _one_hot(x: Tensor, num_classes: int) -> Tensor:
    k = x.nan_to_num().clamp(0, num_classes - 1).long().flatten(-2).squeeze(-1)
    return nn.functional.one_hot(k, num_classes).to(x.dtype)


def _log1p(x: Tensor) -> Tensor:
    return torch.log1p(x).flatten(-2)


def _symmetric(x: Tensor) -> Tensor:
    return (2 * x - 1).flatten(-2)


def _plain(x: Tensor) -> Tensor:
    return x.flatten(-2)


def _event_shape(given: Shape | None, context: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of x: as given, or the height and width of the map of its context."""
    if given is not None:
        return as_shape(given)
    if context is None or len(context) != 3:
        raise ValueError(
            f"Autoregressive cannot tell the shape of x from a context of shape {context}; pass event_shape=, or give "
            "a net whose output is a map (M, height, width)."
        )
    return context[1:]
