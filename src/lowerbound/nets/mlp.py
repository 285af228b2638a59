"""Multilayer perceptron: y = W_L a(… a(W_1 x + b_1) …) + b_L."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lowerbound.nets.shapes import Shape, as_shape, numel

__all__ = ["MLP"]


class MLP(nn.Module):
    """A perceptron from tensors (..., *in_shape) to (..., *out_shape), for any leading axes.

    Arguments:
        in_shape: event shape of the input; a list of shapes for a net of several inputs, which are flattened,
            broadcast over their leading axes and concatenated.
        hidden: widths of the hidden layers; empty for a linear map.
        out_shape: event shape of the output.
        activation: makes the nonlinearity after each hidden layer.

    Raises:
        ValueError: a layer without units.

    >>> MLP((8, 8), [32, 32], (2, 3))(torch.zeros(5, 7, 8, 8)).shape
    torch.Size([5, 7, 2, 3])
    """

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_shape: Shape | list[Shape],
        hidden: Sequence[int],
        out_shape: Shape,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        if any(width < 1 for width in hidden):
            raise ValueError(f"MLP got hidden={list(hidden)} and needs widths of at least 1, or none: [].")
        shapes = in_shape if isinstance(in_shape, list) else [in_shape]
        self.in_shapes = [as_shape(shape) for shape in shapes]
        self.out_shape = as_shape(out_shape)
        widths = [sum(numel(shape) for shape in self.in_shapes), *hidden, numel(self.out_shape)]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), activation()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map inputs (..., *in_shape) to (..., *out_shape)."""
        y = self.layers(self._join(inputs))
        return y if len(self.out_shape) == 1 else y.unflatten(-1, self.out_shape)

    @property
    def output_bias(self) -> Tensor:
        """The bias of the last layer, shaped `out_shape`, which a likelihood sets from the mean of the data."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last.bias.view(self.out_shape)

    def _join(self, inputs: Sequence[Tensor]) -> Tensor:
        if len(inputs) != len(self.in_shapes):
            raise ValueError(
                f"MLP got {len(inputs)} inputs and was built for {len(self.in_shapes)}, of shapes {self.in_shapes}."
            )
        flat = [_flatten(x, shape) for x, shape in zip(inputs, self.in_shapes, strict=True)]
        if len(flat) == 1:
            return flat[0]
        lead = torch.broadcast_shapes(*(x.shape[:-1] for x in flat))
        return torch.cat([x.expand(*lead, x.shape[-1]) for x in flat], dim=-1)


def _flatten(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(
            f"MLP got an input of shape {tuple(x.shape)} and expected (..., {', '.join(map(str, shape))})."
        )
    return x if len(shape) == 1 else x.flatten(-len(shape))
