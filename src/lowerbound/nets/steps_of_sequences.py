"""The nets of texts, over sequences of numbers (..., T, D), for any leading axes.

CausalSteps     h_t, a function of x_1 … x_{t−1} alone, by a causal trunk: as `recurrent.CausalGRU`
WholeSteps      h_t, a function of x_1 … x_T, by the body of a net that reads texts: as `recurrent.BidirectionalGRU`
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.causal_lstm import CausalLSTM
from lowerbound.nets.causal_transformer import CausalTransformer
from lowerbound.nets.dilated_convolution import DilatedConvolution
from lowerbound.nets.lstm import run_lstm
from lowerbound.nets.recurrent import BidirectionalGRU, CausalGRU
from lowerbound.nets.site_net import CausalTrunk
from lowerbound.nets.token_encoder import make_body

__all__ = ["CausalSteps", "StepsNetwork", "WholeSteps", "make_causal_steps", "make_whole_steps"]

StepsNetwork: TypeAlias = Literal["gru", "lstm", "transformer", "convolution"]


class CausalSteps(nn.Module):
    """From x (..., T, data_dim) to features (..., T, width), those at time t being a function of x_1 … x_{t−1}.

    Arguments:
        trunk: such as `CausalLSTM`, without a context.
        data_dim: numbers at one time.
        length: T, the most times that the trunk takes; None for any number.
    """

    takes_leading_axes: bool = True

    def __init__(self, trunk: nn.Module, data_dim: int, length: int | None = None):
        super().__init__()
        assert isinstance(trunk, CausalTrunk)
        self.trunk, self.data_dim, self.length, self.features = trunk, data_dim, length, trunk.features

    def forward(self, x: Float[Tensor, "*batch time data"]) -> Float[Tensor, "*batch time feature"]:
        """The features of every time; those of the first time come from zeros in place of x_0."""
        h = cast(CausalTrunk, self.trunk)(x.reshape(-1, *x.shape[-2:]), None)
        return h.reshape(*x.shape[:-1], self.features)

    def step(self, before: Float[Tensor, "*batch data"], state: Any) -> tuple[Float[Tensor, "*batch feature"], Any]:
        """The features of one time, from x_{t−1} (zeros at first) and what the last call returned (None at first).

        Raises:
            ValueError: more times than the trunk takes.
        """
        trunk, seen = cast(CausalTrunk, self.trunk), before.reshape(-1, self.data_dim)
        cache, time = (trunk.begin(len(seen), None), 0) if state is None else state
        if self.length is not None and time >= self.length:
            raise ValueError(
                f"A transformer over {self.length} steps was asked for step {time + 1}; fit it to longer series, or "
                "take network=gru, lstm or convolution, which go on."
            )
        h = trunk.advance(cache, time, seen if time else None)
        return h.reshape(*before.shape[:-1], self.features), (cache, time + 1)


class WholeSteps(nn.Module):
    """From x (..., T, data_dim) to features (..., T, width) of the whole sequence.

    Arguments:
        body: from (N, T, data_dim), and True (N, T) where a time is there, to (N, T, width).
        width: of the features.
    """

    takes_leading_axes: bool = True

    def __init__(self, body: nn.Module, width: int):
        super().__init__()
        self.body, self.features = body, width

    def forward(self, x: Float[Tensor, "*batch time data"]) -> Float[Tensor, "*batch time feature"]:
        """The features of every time."""
        rows = x.reshape(-1, *x.shape[-2:])
        h = self.body(rows, torch.ones(rows.shape[:2], dtype=torch.bool, device=x.device))
        return h.reshape(*x.shape[:-1], self.features)


def make_causal_steps(
    network: StepsNetwork, data_dim: int, width: int, layers: int, length: int
) -> CausalGRU | CausalSteps:
    """A net of the past of each time.

    Arguments:
        network: "gru" (of one layer), "lstm", "transformer", or "convolution" (dilated), which sees the last
            2 (2^layers − 1) + 1 times.
        data_dim: numbers at one time.
        width: of every layer; of a transformer a multiple of 4.
        layers: how many.
        length: T.

    Raises:
        ValueError: sizes below one, a width that the heads of a transformer do not divide, or several layers of GRU.
    """
    match network:
        case "gru":
            if layers != 1:
                raise ValueError(f"The net gru got layers={layers} and has 1; take lstm, transformer or convolution.")
            return CausalGRU(data_dim, width)
        case "lstm":
            return CausalSteps(CausalLSTM(data_dim, width, layers), data_dim)
        case "transformer":
            return CausalSteps(CausalTransformer(length, data_dim, width, layers), data_dim, length)
        case "convolution":
            return CausalSteps(DilatedConvolution(data_dim, width, layers), data_dim)


def make_whole_steps(network: StepsNetwork, data_dim: int, width: int, length: int) -> BidirectionalGRU | WholeSteps:
    """A net of the whole sequence at each time.

    Arguments:
        network: "gru", "lstm", "transformer" or "convolution" (of reach 2).
        data_dim: numbers at one time.
        width: of the features of each direction, so that there are twice as many.
        length: T.

    Raises:
        ValueError: a width of which the heads of a transformer do not divide twice.
    """
    if network == "gru":
        return BidirectionalGRU(data_dim, width)
    if network == "transformer" and width % 2:
        raise ValueError(f"The net transformer got the width {width} in each direction and needs an even one.")
    body = _BothWays(data_dim, width) if network == "lstm" else make_body(network, data_dim, 2 * width, length)
    return WholeSteps(body, 2 * width)


class _BothWays(nn.Module):
    """An LSTM in both directions, whose features of a time stand side by side. All times are there."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.recurrent = nn.LSTM(inputs, width, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        return run_lstm(self.recurrent, x)[0]
