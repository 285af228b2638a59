"""p(x | z) = Π_{t ≤ n} p(x_t | x_<t, z): a text of tokens x_1 … x_{n−1} and its end x_n, given z (`autoregressive`).

x is a row of T numbers: those of the tokens, then 0, which is the end and fills the rest of the row. What follows the
first 0 is no part of the text, has no probability and costs no time. A text of T − 1 tokens must end at position T, so
that the probabilities of all texts of up to T − 1 tokens sum to one.

A net turns z into a vector c, which enters every step of a causal net (`nets.TokenNet`), which starts from it as well:
the sentence model of Bowman et al. (2016, arXiv:1511.06349). Such a likelihood explains most of x by itself, and then z
stays unused. Remedies: `word_dropout`, `objectives.FreeBits`, a warm-up of the rate, a net that sees little, a hybrid
net and the loss `Auxiliary`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.types import _size

from lowerbound.decoding import Choice, draw, greedy
from lowerbound.distributions.autoregressive import AutoregressiveDistribution
from lowerbound.hooks import NamesLatents, Turn
from lowerbound.likelihoods.categorical import CategoricalDistribution
from lowerbound.likelihoods.open_points import Grammar, OpenPoints
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.precision import call_net
from lowerbound.nets.shapes import Shape, as_shape, out_shape_of
from lowerbound.nets.texts import END, groups_of_length, is_text, lengths_of
from lowerbound.nets.token_net import ContextAt, Softmax, TokenNet, TokenNetwork, make_token_net
from lowerbound.nets.tree_and_graph import TreeAndGraphNet
from lowerbound.on_host import on_host, remember, to_device
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, classes

__all__ = ["TokenDistribution", "Tokens", "num_tokens"]

_NUMBERS_AT_ONCE = 2**24  # scores, about, where no gradient keeps them
_TOKENS_AT_ONCE = 2**12  # about, of a net that makes scores of a few tokens at a time


class Tokens(nn.Module):
    """Texts given z.

    Arguments:
        net: from a context (..., latent_dim) to a vector (..., M); None for p(x) without a context, which is a language
            model and exact.
        event_shape: (T,), the most tokens of a text and its end.
        num_symbols: K, with the end.
        network: the causal net: "lstm", "transformer", "convolution" (dilated) or "hybrid" (transposed convolutions of
            the context, then an LSTM).
        embedding_dim: width of the embedding, which is also the output layer of a full softmax.
        width: of the layers of the causal net.
        layers: how many.
        kernel: of a convolution.
        context_dim: M, where the net is made from words.
        context_at: where the vector enters the causal net: at "every-step", in the "first-state" of an LSTM alone, or
            as a "prefix" of a transformer.
        softmax: over symbols: "full", or "adaptive" for many of them (`nets.adaptive_softmax`).
        word_dropout: the probability that a token is hidden from later ones while training.
        dropout: the probability that a number of an embedding or a feature is dropped while training.
        points: of rows that are derivations of molecules, where each symbol can be joined (`open_points.OpenPoints`).
        classes: the class of each symbol, 0 that of the end, for two nets: one of the classes, with the first half of
            the context, and one of the symbols within a class, with the second half (`nets.tree_and_graph`); None for
            one net.

    Returns (when called):
        A distribution over x; log-probabilities are nats per text. It has no mean.

    Raises:
        ValueError: an event of several axes, a net without a stated vector as output, sizes that are too small, or a
            place for the vector that the causal net does not have.

    >>> from lowerbound.nets import MLP
    >>> p = Tokens(MLP(3, [16], 8), event_shape=6, num_symbols=5, width=8)
    >>> p(torch.zeros(4, 3)).sample().shape
    torch.Size([4, 6])
    """

    cites: ClassVar[tuple[str, ...]] = ("bowman2016generating",)

    facts: LikelihoodFacts = LikelihoodFacts(
        domain="tokens",
        discrete=True,
        encoder_view="tokens",
        baselines=("unigram",),
        from_data=("num_symbols", "points"),
        has_mean=False,
    )

    def __init__(
        self,
        net: nn.Module | None,
        event_shape: Shape,
        num_symbols: int,
        network: TokenNetwork = "lstm",
        embedding_dim: int = 128,
        width: int = 256,
        layers: int = 1,
        kernel: int = 3,
        context_dim: int = 64,
        context_at: ContextAt = "every-step",
        softmax: Softmax = "full",
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        points: str | None = None,
        classes: Sequence[int] | None = None,
    ):
        super().__init__()
        self.event_shape, self.num_symbols = as_shape(event_shape), num_symbols
        if len(self.event_shape) != 1 or num_symbols < 2:
            raise ValueError(
                f"Tokens got event_shape={self.event_shape} and num_symbols={num_symbols}; expected the length of a "
                "row and at least 2 symbols."
            )
        self.context_net = net
        shape = None if net is None else out_shape_of(net, None, owner="Tokens", argument="net=PerDatum(...)")
        if shape is not None and len(shape) != 1:
            raise ValueError(f"Tokens got a net with the output shape {shape} and expected a vector (M,).")
        self._context_shape = shape
        self._check_classes(classes, shape, softmax)
        make = partial(
            make_token_net,
            self.event_shape[0],
            network=network,
            embedding_dim=embedding_dim,
            width=width,
            layers=layers,
            kernel=kernel,
            context=0 if shape is None else shape[0] // (1 if classes is None else 2),
            context_at=context_at,
            softmax=softmax,
            word_dropout=word_dropout,
            dropout=dropout,
        )
        self.causal = make(num_symbols)
        if classes is not None:
            self.causal = TreeAndGraphNet(make(max(classes) + 1), self.causal, classes)
        self.grammar = None if points is None else OpenPoints(points, num_symbols, self.event_shape[0])

    def _check_classes(self, classes: Sequence[int] | None, shape: tuple[int, ...] | None, softmax: Softmax) -> None:
        if classes is not None and softmax != "full":
            raise ValueError(f"Tokens got softmax={softmax} and classes, whose two steps are full softmaxes; leave it.")
        if classes is not None and (len(classes) != self.num_symbols or classes[END] != END):
            raise ValueError(
                f"Tokens got classes of {len(classes)} symbols and num_symbols={self.num_symbols}; expected the class "
                "of each, 0 that of the end."
            )
        if classes is not None and shape is not None and shape[0] % 2:
            raise ValueError(f"Tokens got classes and a context of length {shape[0]}; expected two halves.")

    @staticmethod
    def parameter_shape(event_shape: Shape, context_dim: int = 64) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (context_dim,)

    @property
    def support(self) -> Support:
        """The numbers of the symbols."""
        return classes(self.num_symbols)

    def forward(self, context: Context | None = None) -> TokenDistribution:
        """p(x | context)."""
        if self.context_net is None:
            return TokenDistribution(self.causal, self.event_shape, grammar=self.grammar)
        if context is None:
            raise ValueError("Tokens got no context and has a net that reads one; give z, or make it with net=None.")
        c = parameters_of(self.context_net, context, self._context_shape)
        return TokenDistribution(self.causal, self.event_shape, c, grammar=self.grammar)

    def latent_parts(self) -> dict[str, int]:
        """See `hooks.NamesLatents`."""
        return self.context_net.latent_parts() if isinstance(self.context_net, NamesLatents) else {}

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row position"]) -> None:
        """Start the offsets at the log-frequencies of the symbols, with one count spread over all."""
        k = x.long()
        counts = (
            torch.bincount(k[is_text(k)], minlength=self.num_symbols).to(next(self.causal.parameters()))
            + 1 / self.num_symbols
        )
        self.causal.start_at(counts.log() - counts.sum().log())


class TokenDistribution(AutoregressiveDistribution):
    """p(x | context) = Π_t p(x_t | x_<t, context) up to the end.

    Arguments:
        net: the scores of every symbol at each position.
        event_shape: (T,).
        context: (*batch, M), or None if the net takes none.
        batch_shape: of a distribution without context.
        grammar: which symbols may follow; None for any. Rows are scored under `OpenPoints` alone.
    """

    def __init__(
        self,
        net: TokenNet | TreeAndGraphNet,
        event_shape: tuple[int, ...],
        context: Tensor | None = None,
        batch_shape: _size = (),
        grammar: Grammar | None = None,
    ):
        super().__init__(net, CategoricalDistribution, event_shape, context, batch_shape)
        self.tokens, self.grammar = net, grammar

    def expand(self, batch_shape: _size, _instance: object = None) -> TokenDistribution:
        """The same distribution with a larger batch shape."""
        context = self.context
        if context is not None:
            context = context.expand(*batch_shape, context.shape[-1])
        return TokenDistribution(self.tokens, tuple(self.event_shape), context, batch_shape, self.grammar)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p(x) of x (..., T), whose leading axes broadcast against the batch: (...), nats. One pass.

        −∞ where x holds no symbol or one that may not stand there, has no end, or anything but 0 after it; NaN where x
        is NaN.

        Raises:
            ValueError: x of another shape.
        """
        lead = torch.broadcast_shapes(self._lead_of(value), self.batch_shape)
        x = value.expand(*lead, *self.event_shape).reshape(-1, *self.event_shape)
        k = x.nan_to_num().round().clamp(0, self.tokens.num_symbols - 1).long()
        terms = self._terms(k, self._symbols_of(on_host(value), lead), self._contexts(lead))
        known = ((x == k) & (is_text(k) | (k == END))).all(1) & (k[:, -1] == END)
        value_of = torch.where(known, terms, torch.where(x.isnan().any(1), torch.nan, -torch.inf))
        return value_of.reshape(lead)

    def _symbols_of(self, rows: np.ndarray, lead: _size) -> np.ndarray:
        """The symbols (N, T) of rows on the host, as `log_prob` makes them."""
        k = np.nan_to_num(rows).round().clip(0, self.tokens.num_symbols - 1).astype(np.int64)
        return np.broadcast_to(k, (*lead, *self.event_shape)).reshape(-1, *self.event_shape).copy()

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw x (*sample_shape, *batch, T), one token after another."""
        return self.decoded(draw, sample_shape)

    def greedy(self) -> Tensor:
        """The most probable known token given those before it, one after another: (*batch, T)."""
        return self.decoded(greedy)

    def conditional_means(self) -> Tensor:
        """Tokens have no mean; what is shown for p(x) is `greedy`."""
        return self.greedy()

    @torch.no_grad()
    def decoded(self, choose: Choice, sample_shape: _size = ()) -> Tensor:
        """Write texts (*sample_shape, *batch, T), each token chosen from the scores of all."""
        self._choose = choose
        return self._drawn(sample_shape, means=False)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`: what follows an end is in no turn, nor is the last position."""
        cache: Any = self.tokens.begin(rows, self._contexts(torch.Size((rows,))))
        before = None
        going = torch.ones(rows, dtype=torch.bool)
        state = None if self.grammar is None else self.grammar.begin(rows)
        for t in range(self.event_shape[0] - 1):
            scores = self._allowed(self.tokens.step(cache, t, before), state)
            before = (yield self.family(scores[:, None]), torch.tensor([t]), going)[:, 0]
            if self.grammar is not None and state is not None:
                self.grammar.advance(state, before.long())
            going = going & (before != END)
            if not bool(going.any()):
                return

    def _allowed(self, scores: Tensor, state: Any) -> Tensor:
        """Scores (N, K), −∞ where a symbol may not stand."""
        if self.grammar is None:
            return scores
        return scores.masked_fill(~self.grammar.allowed(self.grammar.situation(state)), -torch.inf)

    def contexts(self) -> Tensor | None:
        """The context of each text of the batch, in one axis; None if the net takes none."""
        return self._contexts(self.batch_shape)

    def zeros(self, *shape: int) -> Tensor:
        """Zeros of the type and on the device of the net."""
        return next(self.tokens.parameters()).new_zeros(shape)

    def _visit(self, num: int, context: Tensor | None, means: bool) -> Tensor:
        """Texts (num, T), until all have ended."""
        length, cache = self.event_shape[0], cast(Any, self.tokens.begin(num, context))
        x = self.zeros(num, length)
        going, before = torch.ones(num, dtype=torch.bool, device=x.device), None
        state = None if self.grammar is None else self.grammar.begin(num)
        for t in range(length - 1):
            scores = self._allowed(self.tokens.step(cache, t, before), state)
            chosen = self._choose(scores).to(x)
            x[:, t] = before = torch.where(going, chosen, torch.zeros_like(chosen))
            if self.grammar is not None and state is not None:
                self.grammar.advance(state, before.long())
            going = going & (chosen != END)
            if not bool(going.any()):
                break
        return x

    def _terms(self, k: Tensor, symbols: np.ndarray, context: Tensor | None) -> Float[Tensor, "row"]:
        """log p of rows (N, T) that are texts, and lie on the host too."""
        if not len(k):
            return self.zeros(0)
        if torch.is_grad_enabled():
            return self._terms_at_once(k, symbols, context)
        lengths = lengths_of(symbols)
        order = lengths.argsort(kind="stable")
        part = lengths[order].cumsum() // self._tokens_at_once()
        parts = np.split(order, np.flatnonzero(np.diff(part)) + 1)
        terms = []
        for rows in parts:
            at = to_device(rows, k.device)
            terms.append(self._terms_at_once(k[at], symbols[rows], None if context is None else context[at]))
        return torch.cat(terms)[to_device(order.argsort(), k.device)]

    def _tokens_at_once(self) -> int:
        """How many are scored at a time where no gradient keeps what was computed."""
        if self.grammar is None and isinstance(self.tokens, TokenNet):
            return _TOKENS_AT_ONCE
        return max(1, _NUMBERS_AT_ONCE // self.tokens.num_symbols)

    def _terms_at_once(self, k: Tensor, symbols: np.ndarray, context: Tensor | None) -> Tensor:
        """The same, with the scores of all tokens at once."""
        lengths = np.minimum(lengths_of(symbols), k.shape[1] - 1)  # at the last position every text has ended
        features, positions = [], []
        for rows, longest in groups_of_length(lengths):
            sent = to_device(rows, k.device)
            counted = np.arange(longest) < lengths[rows, None]
            h = call_net(_Features(self.tokens), (k[sent, :longest], *(() if context is None else (context[sent],))))
            features.append(h.flatten(0, 1).index_select(0, to_device(np.flatnonzero(counted), k.device)))
            positions.append((rows[:, None] * k.shape[1] + np.arange(longest))[counted])
        places = np.concatenate(positions)
        h, at = torch.cat(features), to_device(places, k.device)
        k_next = k.flatten().index_select(0, at)
        remember(k_next, torch.from_numpy(symbols.ravel()[places]))
        if self.grammar is None:
            log_p = self.tokens.log_p(h, k_next)
        else:
            assert isinstance(self.grammar, OpenPoints)
            reach = int(lengths.max())
            now = self.grammar.along(k[:, :reach], symbols[:, :reach]).at(at // k.shape[1] * reach + at % k.shape[1])
            log_p = _log_p_of_allowed(self.tokens.scores(h), k_next, self.grammar.allowed(now))
        return log_p.new_zeros(k.numel()).index_copy(0, at, log_p).view_as(k).sum(1)


def _log_p_of_allowed(scores: Tensor, k: Tensor, allowed: Tensor) -> Tensor:
    """log p of symbols k (N,) where only those allowed (N, K) have a probability; −∞ for one that is not."""
    legal = allowed.gather(1, k[:, None])
    log_p = -cross_entropy(scores.masked_fill(legal & ~allowed, -torch.inf), k, reduction="none")
    return torch.where(legal[:, 0], log_p, -torch.inf)


class _Features(nn.Module):
    """The features of a net of tokens, as a net of its own."""

    def __init__(self, net: TokenNet | TreeAndGraphNet):
        super().__init__()
        self.net = net

    def forward(self, k: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net.features(k, context)


def num_tokens(x: Shaped[Tensor, "row position"]) -> Tensor:
    """How many tokens each text has, with its end: (N,), int64."""
    return is_text(x).sum(1)
