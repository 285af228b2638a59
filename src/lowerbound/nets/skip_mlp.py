"""A perceptron whose input enters every layer: h_1 = a(W_1 z + b_1), h_l = a(W_l h_{l−1} + U_l z + b_l), y likewise.

A decoder of this kind cannot lose z on the way to x (Dieng et al. 2019, arXiv:1807.04863, eq. 6). With U = 0 it is an
`MLP`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from lowerbound.nets.shapes import Shape, as_shape, numel

__all__ = ["SkipMLP"]


class SkipMLP(nn.Module):
    """A perceptron from tensors (..., *in_shape) to (..., *out_shape) that adds its input to every layer.

    Arguments:
        in_shape: event shape of the input.
        hidden: widths of the hidden layers, at least one.
        out_shape: event shape of the output.
        activation: makes the nonlinearity after each hidden layer.

    Raises:
        ValueError: no hidden layer, a layer without units, or (when called) an input of another shape.

    >>> import torch
    >>> SkipMLP(3, [32, 32], (8, 8))(torch.zeros(5, 7, 3)).shape
    torch.Size([5, 7, 8, 8])
    """

    cites: ClassVar[tuple[str, ...]] = ("dieng2019avoiding",)

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_shape: Shape,
        hidden: Sequence[int],
        out_shape: Shape,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ValueError(f"SkipMLP got hidden={list(hidden)} and needs widths of at least 1, and one or more.")
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        size = numel(self.in_shape)
        widths = [size, *hidden, numel(self.out_shape)]
        self.layers = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths))
        self.skips = nn.ModuleList(nn.Linear(size, width, bias=False) for width in widths[2:])
        self.activation = activation()

    def forward(self, z: Tensor) -> Tensor:
        """Map inputs (..., *in_shape) to (..., *out_shape)."""
        rank = len(self.in_shape)
        if z.shape[z.ndim - rank :] != self.in_shape:
            raise ValueError(f"SkipMLP got an input of shape {tuple(z.shape)} and expected (..., {self.in_shape}).")
        z = z.flatten(-rank)
        h = self.layers[0](z)
        for layer, skip in zip(list(self.layers)[1:], self.skips, strict=True):
            h = layer(self.activation(h)) + skip(z)
        return h.unflatten(-1, self.out_shape)

    @property
    def output_bias(self) -> Tensor:
        """The bias of the last layer, shaped `out_shape`, which a likelihood sets from the mean of the data."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last.bias.view(self.out_shape)
