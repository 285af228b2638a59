"""An LSTM that computes in the precision of its weights on a CPU, where torch has none of lower precision."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["State", "run_lstm"]

State: TypeAlias = tuple[Tensor, Tensor]
"""The hidden and the cell state, each (layers, N, features)."""


def run_lstm(lstm: nn.LSTM, u: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """The features (N, T, features) of inputs (N, T, inputs), and the last state."""
    if u.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return lstm(u, state)
    dtype = next(lstm.parameters()).dtype
    with torch.autocast("cpu", enabled=False):
        return lstm(u.to(dtype), None if state is None else (state[0].to(dtype), state[1].to(dtype)))
