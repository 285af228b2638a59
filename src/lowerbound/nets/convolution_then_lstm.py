"""Features of every position: transposed convolutions unroll the context, and a recurrent net reads them and the past.

    U = (u_1, …, u_T) = deconvolve(c)        (h_i, s_i) = LSTM((w_{i−1}, u_i), s_{i−1}),        w_0 = 0, s_0 = 0

the hybrid net of Semeniuta, Severyn & Barth (2017, arXiv:1702.02390, §3). U is a function of the context alone, so that
it can be asked to tell each symbol by itself (`losses.Auxiliary`). Without a context there is no U.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from lowerbound.nets.lstm import State, run_lstm

__all__ = ["ConvolutionThenLSTM"]

_FIRST = 4  # positions at most of the shortest sequence, which each layer doubles


class ConvolutionThenLSTM(nn.Module):
    """A causal trunk over a number of positions (`site_net.CausalTrunk`).

    Arguments:
        num_positions: T.
        inputs: numbers at each position.
        features: of the transposed convolutions and of every layer of the recurrent net.
        layers: of the recurrent net.
        context: M, the length of the context; 0 for none.

    Raises:
        ValueError: sizes below one.
    """

    cites: ClassVar[tuple[str, ...]] = ("semeniuta2017hybrid",)

    def __init__(self, num_positions: int, inputs: int, features: int, layers: int = 1, context: int = 0):
        super().__init__()
        if min(num_positions, inputs, features, layers) < 1:
            raise ValueError(
                f"ConvolutionThenLSTM got num_positions={num_positions}, inputs={inputs}, features={features}, "
                f"layers={layers} and needs at least 1 of each."
            )
        self.num_positions, self.inputs, self.features, self.layers = num_positions, inputs, features, layers
        self.unroll = _Unroll(context, features, num_positions) if context else None
        self.lstm = nn.LSTM(inputs + (features if context else 0), features, layers, batch_first=True)

    def unrolled(self, context: Float[Tensor, "row context"]) -> Float[Tensor, "row position feature"]:
        """U, what the context says of every position by itself."""
        assert self.unroll is not None
        return self.unroll(context)

    def forward(
        self, seen: Float[Tensor, "row position input"], context: Float[Tensor, "row context"] | None
    ) -> Float[Tensor, "row position feature"]:
        """The features of every position."""
        read = pad(seen, (0, 0, 1, -1))
        if self.unroll is not None and context is not None:
            read = torch.cat([read, self.unrolled(context)[:, : seen.shape[1]]], -1)
        h, _ = run_lstm(self.lstm, read)
        return h

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """U and a first state of zeros."""
        zeros = next(self.lstm.parameters()).new_zeros(self.layers, num, self.features)
        unrolled = None if self.unroll is None or context is None else self.unrolled(context)
        return _Cache((zeros, zeros), unrolled, num)

    def advance(self, cache: _Cache, position: int, before: Tensor | None) -> Float[Tensor, "row feature"]:
        """The features of one position, from what is seen at the one before it."""
        read = cache.state[0].new_zeros(cache.num, self.inputs) if before is None else before
        if cache.unrolled is not None:
            read = torch.cat([read, cache.unrolled[:, position]], -1)
        h, cache.state = run_lstm(self.lstm, read[:, None], cache.state)
        return h[:, 0]


class _Unroll(nn.Module):
    """From a vector to features of every position: a short sequence, whose length each layer doubles."""

    def __init__(self, context: int, features: int, num_positions: int):
        super().__init__()
        doublings = 1
        while _FIRST << doublings < num_positions:
            doublings += 1
        self.num_positions, self.shape = num_positions, (features, -(-num_positions >> doublings))
        self.first = nn.Linear(context, self.shape[0] * self.shape[1])
        self.layers = nn.ModuleList(nn.ConvTranspose1d(features, features, 4, 2, 1) for _ in range(doublings))

    def forward(self, context: Float[Tensor, "row context"]) -> Float[Tensor, "row position feature"]:
        h = self.first(context).unflatten(-1, self.shape)
        for layer in self.layers:
            h = layer(torch.relu(h))
        return h[..., : self.num_positions].mT


@dataclass
class _Cache:
    state: State
    unrolled: Tensor | None
    num: int
