"""A net of one-hot states: it looks up the parameters of a state."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.shapes import Shape, as_shape

__all__ = ["StateTable"]


class StateTable(nn.Module):
    """From one-hot states (..., K) to (..., *out_shape).

    Arguments:
        states: K.
        out_shape: of what the likelihood needs for one state.
    """

    takes_leading_axes: bool = True

    def __init__(self, states: int, out_shape: Shape):
        super().__init__()
        self.out_shape = as_shape(out_shape)
        self.table = nn.Parameter(torch.zeros(states, *self.out_shape))

    def forward(self, z: Float[Tensor, "*lead state"]) -> Tensor:
        """The parameters of states."""
        return (z @ self.table.flatten(1)).unflatten(-1, self.out_shape)
