"""r(x | z) = Π_{t ≤ n} r(x_t | u_t): each symbol of a text from what a hybrid net makes of z at its position alone.

    r(x_t | u_t) = softmax(E g(u_t) + b)_{x_t},        u_1, …, u_T = deconvolve(c(z))

with the embedding and the unrolled sequence of the likelihood `Tokens` beside which it is trained, and a net g of its
own (Semeniuta, Severyn & Barth 2017, arXiv:1702.02390, §3). Symbols are independent given z up to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.likelihoods.tokens import Tokens
from lowerbound.nets import MLP
from lowerbound.nets.convolution_then_lstm import ConvolutionThenLSTM
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.precision import call_net
from lowerbound.nets.texts import lengths_of, symbols_on_host
from lowerbound.nets.token_net import TokenNet
from lowerbound.on_host import remember, to_device
from lowerbound.protocols import Context

__all__ = ["UnrolledTokens"]


class UnrolledTokens(nn.Module):
    """The symbols of a text, each given z alone.

    Arguments:
        tokens: the likelihood whose net is hybrid and reads a context; it is referred to and is no part of this one.
        hidden: widths of the hidden layers of g.

    Returns (when called with a context (..., latent_dim)):
        A distribution over x (..., T), of which log p is known, nats per text.
    """

    def __init__(self, tokens: Tokens, hidden: Sequence[int] = ()):
        super().__init__()
        self.__dict__["_tokens"] = tokens  # not a submodule: its parameters are those of the model
        net = tokens.causal
        assert self.fits(tokens)
        assert isinstance(net, TokenNet)
        self.net = MLP(cast(ConvolutionThenLSTM, net.trunk).features, hidden, net.embedding.shape[1])

    @staticmethod
    def fits(likelihood: object) -> bool:
        """Whether it is a likelihood of that kind."""
        if not isinstance(likelihood, Tokens) or likelihood.context_net is None:
            return False
        return isinstance(likelihood.causal, TokenNet) and isinstance(likelihood.causal.trunk, ConvolutionThenLSTM)

    def forward(self, context: Context) -> UnrolledDistribution:
        """r(x | context)."""
        tokens = self.__dict__["_tokens"]
        c = parameters_of(tokens.context_net, context, tokens.causal.context_shape)
        h = call_net(_OfPositions(tokens.causal.trunk, self.net), (c.flatten(0, -2),))
        return UnrolledDistribution(tokens.causal, h.unflatten(0, c.shape[:-1]))


class UnrolledDistribution(Distribution):
    """r(x | z), from features of every position.

    Arguments:
        net: of the symbols, from features.
        h: (*batch, T, width).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, net: TokenNet, h: Float[Tensor, "..."]):
        self.net, self.h = net, h
        super().__init__(h.shape[:-2], h.shape[-2:-1], validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log r(x) of texts x (..., T), whose leading axes broadcast against the batch: (...), nats."""
        lead = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        x = value.expand(*lead, -1)
        symbols = symbols_on_host(x)
        last = symbols.shape[1] - 1  # where every text has ended
        counted = np.flatnonzero(np.arange(last + 1) < np.minimum(lengths_of(symbols), last)[:, None])
        at = to_device(counted, x.device)
        k = x.flatten().index_select(0, at).long()
        remember(k, torch.from_numpy(symbols.ravel()[counted]))
        terms = self.net.log_p(self.h.expand(*lead, *self.h.shape[-2:]).flatten(0, -2).index_select(0, at), k)
        return self.h.new_zeros(x.numel()).index_copy(0, at, terms).view(x.shape).sum(-1)


class _OfPositions(nn.Module):
    """g(u_t) of every position (N, T, width), as a net of its own."""

    def __init__(self, trunk: ConvolutionThenLSTM, net: nn.Module):
        super().__init__()
        self.trunk, self.net = trunk, net

    def forward(self, context: Tensor) -> Tensor:
        return self.net(self.trunk.unrolled(context))
