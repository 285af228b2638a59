"""Nets of pictures for vectors of pixels: each number stands at its place, and places without one are 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["FromPicture", "InPicture"]


class InPicture(nn.Module):
    """A net of pictures that is given vectors of their pixels.

    Arguments:
        net: from pictures (..., height, width) to parameters; it states `in_shape` and `out_shape`.
        places: of the numbers of a vector in the picture, row by row.

    >>> from lowerbound.nets import Convolution
    >>> InPicture(Convolution((4, 4), [2], (3,)), [0, 5, 6])(torch.ones(7, 3)).shape
    torch.Size([7, 3])
    """

    takes_leading_axes: bool = True

    places: Tensor

    def __init__(self, net: nn.Module, places: Sequence[int]):
        super().__init__()
        self.net, self.out_shape = net, cast(tuple[int, ...], net.out_shape)
        self.register_buffer("places", torch.tensor(list(places)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors (..., place)."""
        shape = cast(tuple[int, ...], self.net.in_shape)
        flat = x.new_zeros(*x.shape[:-1], shape[-2] * shape[-1]).index_copy(-1, self.places, x)
        return self.net(flat.unflatten(-1, shape))


class FromPicture(nn.Module):
    """A net whose output are the numbers at some places of a picture.

    Arguments:
        net: to pictures (..., *leading, height, width), as it states in `out_shape`.
        places: of the numbers in the picture, row by row.

    Attributes:
        output_bias: a bias of each number, at which a likelihood can start.
    """

    takes_leading_axes: bool = True

    places: Tensor

    def __init__(self, net: nn.Module, places: Sequence[int]):
        super().__init__()
        self.net = net
        self.out_shape = (*cast(tuple[int, ...], net.out_shape)[:-2], len(places))
        self.output_bias = nn.Parameter(torch.zeros(self.out_shape))
        self.register_buffer("places", torch.tensor(list(places)), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors (..., in_dim) to (..., *leading, place)."""
        return self.net(z).flatten(-2).index_select(-1, self.places) + self.output_bias
