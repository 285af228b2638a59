"""A causal net over tokens: the scores of every symbol at each position, from the symbols before it.

    f_i = trunk(u_<i, c),        u_j = E[x_j],        θ_i = E (W f_i + V c) + b

The embedding E (K, width) is read and written: the output layer is tied to it (Press & Wolf 2017, arXiv:1608.05859;
Inan et al. 2017, arXiv:1611.01462). Or E is read alone, and an `AdaptiveSoftmax` makes log p of W f_i + V c. V c is a
path from the context past the trunk; it is there where the context enters every step.

While training, tokens are hidden from later positions with a probability (`word_dropout`), and then read as zeros
(Bowman et al. 2016, arXiv:1511.06349, §3.1); and numbers in u and f are dropped out (`dropout`, Zaremba et al. 2014,
arXiv:1409.2329). Given what is dropped, p(x) stays normalised, so that bounds remain bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, linear

from lowerbound.nets.adaptive_softmax import AdaptiveSoftmax
from lowerbound.nets.causal_lstm import CausalLSTM
from lowerbound.nets.causal_transformer import CausalTransformer
from lowerbound.nets.convolution_then_lstm import ConvolutionThenLSTM
from lowerbound.nets.dilated_convolution import DilatedConvolution
from lowerbound.nets.precision import call_net
from lowerbound.nets.site_net import CausalTrunk

__all__ = ["ContextAt", "Softmax", "TokenNet", "TokenNetwork", "make_token_net"]

TokenNetwork: TypeAlias = Literal["lstm", "transformer", "convolution", "hybrid"]

ContextAt: TypeAlias = Literal["every-step", "first-state", "prefix"]
"""Where the context enters."""

Softmax: TypeAlias = Literal["full", "adaptive"]

_PLACES: Mapping[TokenNetwork, tuple[ContextAt, ...]] = {
    "lstm": ("every-step", "first-state"),
    "transformer": ("every-step", "prefix"),
    "convolution": ("every-step",),
    "hybrid": ("every-step",),
}

_SMALL = 0.1
_SCORES_AT_ONCE = 2**21


class TokenNet(nn.Module):
    """A causal net over sequences of symbols (see `autoregressive.CausalNet`).

    Arguments:
        trunk: from embedded tokens to features.
        length: T, positions.
        num_symbols: K.
        width: of the embedding.
        context: M, the length of the context; 0 for none.
        word_dropout: the probability that a token is hidden from later ones while training.
        dropout: the probability that a number of an embedded token or of a feature is dropped while training.
        skip: whether the context has a path past the trunk.
        softmax: "full", whose weights are the embedding, or "adaptive", which has weights of its own.

    Raises:
        ValueError: a probability outside of [0, 1), or sizes that are too small.
    """

    cites: ClassVar[tuple[str, ...]] = (
        "press2017using",
        "inan2017tying",
        "bowman2016generating",
        "zaremba2014recurrent",
    )

    takes_leading_axes: bool = False

    def __init__(
        self,
        trunk: nn.Module,
        length: int,
        num_symbols: int,
        width: int,
        context: int = 0,
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        skip: bool = True,
        softmax: Softmax = "full",
    ):
        super().__init__()
        assert isinstance(trunk, CausalTrunk)
        for name, p in (("word_dropout", word_dropout), ("dropout", dropout)):
            if not 0 <= p < 1:
                raise ValueError(f"TokenNet got {name}={p:g} and expected a probability in [0, 1); 0 drops nothing.")
        self.trunk, self.num_symbols = trunk, num_symbols
        self.site_shape, self.value_shape, self.context_shape = (length,), (), (context,) if context else None
        self.word_dropout, self.dropout = word_dropout, dropout
        self.embedding = nn.Parameter(_SMALL * torch.randn(num_symbols, width))
        self.out = nn.Linear(trunk.features, width)
        self.skip = nn.Linear(context, width, bias=False) if context and skip else None
        self.adaptive = AdaptiveSoftmax(width, num_symbols) if softmax == "adaptive" else None
        self.bias = nn.Parameter(torch.zeros(num_symbols)) if self.adaptive is None else None

    def forward(
        self, x: Float[Tensor, "row position"], context: Tensor | None = None
    ) -> Float[Tensor, "row position symbol"]:
        """The scores of every symbol at each position."""
        return self.scores(self.features(x.long(), context))

    def features(self, x: Int[Tensor, "row position"], context: Tensor | None) -> Float[Tensor, "row position width"]:
        """W f + V c at each position of sequences (N, t), t ≤ T."""
        u = self.embedding[x]
        if self.training and self.word_dropout > 0:
            u = u * torch.bernoulli(torch.full_like(u[..., :1], 1 - self.word_dropout))
        f = cast(CausalTrunk, self.trunk)(dropout(u, self.dropout, self.training), context)
        return self._joined(dropout(f, self.dropout, self.training), context)

    def scores(
        self, h: Float[Tensor, "*lead width"], some: Int[Tensor, "symbol"] | None = None
    ) -> Float[Tensor, "*lead symbol"]:
        """E h + b, unnormalised log-probabilities, of all symbols or of some; those of an adaptive softmax sum to 1."""
        if self.adaptive is not None:
            assert some is None
            return self.adaptive(h)
        assert self.bias is not None
        if some is None:
            return linear(h, self.embedding, self.bias)
        return linear(h, self.embedding[some], self.bias[some])

    def log_p(self, h: Float[Tensor, "row width"], k: Int[Tensor, "row"]) -> Float[Tensor, "row"]:
        """log p of symbol k of each row, nats.

        Scores are made for a few rows at a time, which a cache of the processor holds: that takes two thirds of the
        time of one large product, and in evaluation next to no memory.
        """
        if self.adaptive is not None:
            return self.adaptive.of(h, k)
        size = max(1, _SCORES_AT_ONCE // self.num_symbols)
        return torch.cat([self._log_p_of(*part) for part in zip(h.split(size), k.split(size), strict=True)])

    def _log_p_of(self, h: Tensor, k: Tensor) -> Tensor:
        scores = call_net(partial(linear, weight=self.embedding), (h,)) + cast(Tensor, self.bias)
        return -cross_entropy(scores, k, reduction="none")

    @torch.no_grad()
    def start_at(self, log_p: Float[Tensor, "symbol"]) -> None:
        """Set the offsets b to the log-frequencies of symbols."""
        if self.adaptive is not None:
            self.adaptive.start_at(log_p)
        else:
            cast(Tensor, self.bias).copy_(log_p)

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """A cache for drawing `num` sequences."""
        return _Cache(cast(CausalTrunk, self.trunk).begin(num, context), context)

    def step(self, cache: _Cache, site: int, before: Tensor | None) -> Float[Tensor, "row symbol"]:
        """The scores at one position, given the symbols (N,) at the one before it."""
        return self.scores(self.feature_step(cache, site, before))

    def feature_step(self, cache: _Cache, site: int, before: Tensor | None) -> Float[Tensor, "row width"]:
        """W f + V c at one position, given the symbols (N,) at the one before it."""
        u = None if before is None else self.embedding[before.long()]
        return self._joined(cast(CausalTrunk, self.trunk).advance(cache.trunk, site, u), cache.context)

    def _joined(self, f: Tensor, context: Tensor | None) -> Tensor:
        h = self.out(f)
        if self.skip is None or context is None:
            return h
        term = self.skip(context)
        return h + (term[:, None] if h.ndim == 3 else term)


@dataclass
class _Cache:
    trunk: Any
    context: Tensor | None


def make_token_net(
    length: int,
    num_symbols: int,
    *,
    network: TokenNetwork = "lstm",
    embedding_dim: int = 128,
    width: int = 256,
    layers: int = 1,
    kernel: int = 3,
    context: int = 0,
    context_at: ContextAt = "every-step",
    softmax: Softmax = "full",
    word_dropout: float = 0.0,
    dropout: float = 0.0,
) -> TokenNet:
    """A `TokenNet` with one of four trunks.

    Arguments:
        length: T, positions.
        num_symbols: K.
        network: "lstm", "transformer", "convolution" (dilated), or "hybrid" (transposed convolutions, then an LSTM).
        embedding_dim: width of the embedding.
        width: of the layers of the trunk.
        layers: how many.
        kernel: of a convolution.
        context: M, the length of the context; 0 for none.
        context_at: where the context enters: at "every-step" (of a hybrid net as one piece of its unrolled sequence for
            each), in the "first-state" of an LSTM alone, or as a "prefix" of a transformer.
        softmax: see `TokenNet`.
        word_dropout: see `TokenNet`.
        dropout: see `TokenNet`.

    Raises:
        ValueError: sizes or probabilities that are none, or a place for the context that the network does not have.
    """
    if network not in _PLACES or softmax not in get_args(Softmax):
        nets, kinds = ", ".join(_PLACES), " or ".join(get_args(Softmax))
        raise ValueError(f"The net is {network!r} with softmax={softmax!r}; expected one of {nets}, and {kinds}.")
    if context_at not in _PLACES[network]:
        places = " or ".join(_PLACES[network])
        raise ValueError(f"The net {network} got context_at={context_at} and takes its context at {places}; say that.")
    if min(length, num_symbols, embedding_dim) < 1:
        raise ValueError(
            f"A net of tokens got length={length}, num_symbols={num_symbols}, embedding_dim={embedding_dim} and needs "
            "at least 1 of each."
        )
    match network:
        case "lstm":
            trunk: nn.Module = CausalLSTM(embedding_dim, width, layers, context, context_at == "every-step")
        case "transformer":
            trunk = CausalTransformer(
                length, embedding_dim, width, layers, context=context, prefix=context_at == "prefix"
            )
        case "convolution":
            trunk = DilatedConvolution(embedding_dim, width, layers, kernel, context)
        case "hybrid":
            trunk = ConvolutionThenLSTM(length, embedding_dim, width, layers, context)
    skip = context_at == "every-step" and network != "hybrid"
    return TokenNet(trunk, length, num_symbols, embedding_dim, context, word_dropout, dropout, skip, softmax)
