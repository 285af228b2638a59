"""Convolutional nets between images and maps of features: no layer mixes all positions.

Each stage halves the image, ⌈h/2⌉ × ⌈w/2⌉, by a 3×3 convolution of stride 2, and adds a residual block of a 3×3 and a
1×1 convolution; the net back retraces the same sizes (as `convolution` does). They are the nets of van den Oord et al.
(2017, arXiv:1711.00937, §4.1), for images of any height, width and number of channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from lowerbound.nets.convolution import stages
from lowerbound.nets.shapes import as_shape, numel

__all__ = ["FromMap", "ToMap", "map_shape"]


def map_shape(image: tuple[int, ...], num_stages: int) -> tuple[int, int]:
    """The height and width of the map that so many halvings leave of an image (height, width) or (C, height, width).

    >>> map_shape((3, 29, 17), 2)
    (8, 5)
    """
    return stages(image, [1] * num_stages, owner="ToMap")[1][-1]


class ToMap(nn.Module):
    """From images (..., *in_shape) to maps (..., *features, height, width) of a part of their size.

    Arguments:
        in_shape: (height, width) or (channels, height, width).
        channels: of each stage, each of which halves the image.
        features: the axes of the output in front of its height and width.
        activation: makes the nonlinearity.

    >>> ToMap((3, 29, 17), [8, 16], (2, 4))(torch.zeros(5, 7, 3, 29, 17)).shape
    torch.Size([5, 7, 2, 4, 8, 5])
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2017neural",)

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Sequence[int],
        features: tuple[int, ...],
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        self.in_shape = as_shape(in_shape)
        first, sizes = stages(self.in_shape, channels, owner="ToMap")
        self.out_shape = (*features, *sizes[-1])
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip([first, *channels[:-1]], channels, strict=True):
            layers += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), _Residual(fan_out, activation)]
        layers += [activation(), nn.Conv2d(channels[-1], numel(features), 1)]
        self.layers = _channels_last(layers)
        self._image, self._channels = (first, *sizes[0]), tuple(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (..., *in_shape) to (..., *out_shape)."""
        lead = x.shape[: x.ndim - len(self.in_shape)]
        if x.shape[len(lead) :] != self.in_shape:
            raise ValueError(f"ToMap got an input of shape {tuple(x.shape)} and expected (..., {self.in_shape}).")
        return self.layers(x.reshape(-1, *self._image)).reshape(*lead, *self.out_shape)

    @property
    def num_stages(self) -> int:
        """How often it halves an image."""
        return len(self._channels)

    def of_size(self, height: int, width: int) -> ToMap:
        """The same net for images of another size.

        >>> ToMap((29, 17), [8, 16], (2,)).of_size(64, 9).out_shape
        (2, 16, 3)
        """
        other = copy.copy(self)
        other.in_shape = (*self.in_shape[:-2], height, width)
        first, sizes = stages(other.in_shape, self._channels, owner="ToMap")
        other.out_shape, other._image = (*self.out_shape[:-2], *sizes[-1]), (first, height, width)
        return other


class FromMap(nn.Module):
    """From maps (..., features, height, width) to images (..., *out_shape).

    Arguments:
        features: of the map.
        channels: of each stage, from the map on; each stage doubles the map.
        out_shape: (..., height, width); the axes before the last two are made by the last layer.
        activation: makes the nonlinearity.

    The last bias has one entry per pixel and channel, so that a likelihood can start at the mean image.

    >>> FromMap(4, [16, 8], (2, 3, 29, 17))(torch.zeros(5, 7, 4, 8, 5)).shape
    torch.Size([5, 7, 2, 3, 29, 17])
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2017neural",)

    takes_leading_axes: bool = True

    def __init__(
        self,
        features: int,
        channels: Sequence[int],
        out_shape: tuple[int, ...],
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        self.out_shape = as_shape(out_shape)
        image = (numel(self.out_shape[:-2]), *self.out_shape[-2:])
        last, sizes = stages(image, channels, owner="FromMap")
        self.in_shape = (features, *sizes[-1])
        layers: list[nn.Module] = [nn.Conv2d(features, channels[0], 3, padding=1)]
        for stage, (fan_in, fan_out) in enumerate(zip(channels, [*channels[1:], channels[-1]], strict=True)):
            height, width = sizes[-2 - stage]
            padding = ((height + 1) % 2, (width + 1) % 2)
            up = nn.ConvTranspose2d(fan_in, fan_out, 3, 2, 1, output_padding=padding)
            layers += [_Residual(fan_in, activation), activation(), up]
        layers += [activation(), nn.Conv2d(channels[-1], last, 3, padding=1)]
        self.layers = _channels_last(layers)
        self.output_bias = nn.Parameter(torch.zeros(self.out_shape))

    def forward(self, z: Tensor) -> Tensor:
        """Map maps (..., features, height, width) to (..., *out_shape)."""
        images = self.layers(z.reshape(-1, *self.in_shape))
        return images.reshape(*z.shape[:-3], *self.out_shape) + self.output_bias

    @property
    def num_stages(self) -> int:
        """How often it doubles a map."""
        return len(self._ups())

    def of_size(self, height: int, width: int) -> FromMap:
        """The same net for images of another size, with a copy of its weights.

        A bias of each pixel has no meaning there: that of all is its mean over the pixels.

        >>> FromMap(4, [16, 8], (3, 29, 17)).of_size(64, 9)(torch.zeros(1, 4, 16, 3)).shape
        torch.Size([1, 3, 64, 9])
        """
        other = copy.deepcopy(self)
        _, sizes = stages((height, width), [1] * self.num_stages, owner="FromMap")
        for up, (rows, columns) in zip(reversed(other._ups()), sizes, strict=False):
            up.output_padding = ((rows + 1) % 2, (columns + 1) % 2)
        other.in_shape, other.out_shape = (self.in_shape[0], *sizes[-1]), (*self.out_shape[:-2], height, width)
        bias = self.output_bias.detach().mean((-2, -1), keepdim=True)
        other.output_bias = nn.Parameter(bias.expand(other.out_shape))
        return other

    def _ups(self) -> list[nn.ConvTranspose2d]:
        return [layer for layer in self.layers if isinstance(layer, nn.ConvTranspose2d)]


class _Residual(nn.Module):
    """h + W₁ σ(W₃ σ(h)), with a 3×3 and a 1×1 convolution."""

    def __init__(self, channels: int, activation: Callable[[], nn.Module]):
        super().__init__()
        self.block = nn.Sequential(
            activation(), nn.Conv2d(channels, channels, 3, padding=1), activation(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.block(h)


def _channels_last(layers: list[nn.Module]) -> nn.Sequential:
    """The layers, with weights that lie with their channels last in memory."""
    return cast(Any, nn.Sequential(*layers)).to(memory_format=torch.channels_last)
