"""Features of every position that are a function of the positions before it, by a recurrent net.

    (h_i, s_i) = LSTM(u_{i−1} + A c, s_{i−1}),        s_0 = tanh(B c)

with u_{−1} = 0: long short-term memory (Hochreiter & Schmidhuber 1997) whose context enters the first state, and every
step or not (A = 0), as in the sentence model of Bowman et al. (2016, arXiv:1511.06349, §3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from lowerbound.nets.lstm import State, run_lstm

__all__ = ["CausalLSTM"]


class CausalLSTM(nn.Module):
    """A causal trunk for sequences of any length (`site_net.CausalTrunk`).

    Arguments:
        inputs: numbers at each position.
        features: width of every layer.
        layers: how many.
        context: M, the length of the context; 0 for none.
        every_step: whether the context enters every step besides the first state.

    Raises:
        ValueError: sizes below one.
    """

    cites: ClassVar[tuple[str, ...]] = ("hochreiter1997long", "bowman2016generating")

    def __init__(self, inputs: int, features: int, layers: int = 1, context: int = 0, every_step: bool = True):
        super().__init__()
        if min(inputs, features, layers) < 1:
            raise ValueError(
                f"CausalLSTM got inputs={inputs}, features={features}, layers={layers} and needs at least 1 of each."
            )
        self.inputs, self.features, self.layers = inputs, features, layers
        self.lstm = nn.LSTM(inputs, features, layers, batch_first=True)
        self.context = nn.Linear(context, inputs, bias=False) if context and every_step else None
        self.first = nn.Linear(context, 2 * layers * features) if context else None

    def forward(
        self, seen: Float[Tensor, "row position input"], context: Float[Tensor, "row context"] | None
    ) -> Float[Tensor, "row position feature"]:
        """The features of every position."""
        term = self._of_context(context)
        u = pad(seen, (0, 0, 1, -1))
        h, _ = run_lstm(self.lstm, u if term is None else u + term, self._first_state(len(seen), context))
        return h

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """The first state."""
        return _Cache(self._first_state(num, context), self._of_context(context), num)

    def advance(self, cache: _Cache, position: int, before: Tensor | None) -> Float[Tensor, "row feature"]:
        """The features of one position, from what is seen at the one before it."""
        u = cache.state[0].new_zeros(cache.num, 1, self.inputs) if before is None else before[:, None]
        h, cache.state = run_lstm(self.lstm, u if cache.term is None else u + cache.term, cache.state)
        return h[:, 0]

    def _of_context(self, context: Tensor | None) -> Tensor | None:
        """A c (N, 1, inputs)."""
        return None if self.context is None else self.context(context)[:, None]

    def _first_state(self, num: int, context: Tensor | None) -> State:
        """The hidden and the cell state (layers, N, features)."""
        if self.first is None:
            zeros = next(self.lstm.parameters()).new_zeros(self.layers, num, self.features)
            return zeros, zeros
        assert context is not None
        states = torch.tanh(self.first(context)).view(num, 2, self.layers, self.features).permute(1, 2, 0, 3)
        return states[0].contiguous(), states[1].contiguous()


@dataclass
class _Cache:
    state: State
    term: Tensor | None
    num: int
