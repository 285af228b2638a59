"""Convolutional nets for images of any height and width.

Each stage halves the image, ⌈h/2⌉ × ⌈w/2⌉, with a 3×3 convolution of stride 2. The transposed net retraces the same
sizes: a transposed 3×3 convolution of stride 2 maps n to 2n − 1 + p, so the output padding p = 1 or 0 reaches an even
or odd size.

Weights lie with their channels last in memory, where convolutions of few channels are faster on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lowerbound.nets.shapes import Shape, as_shape, numel

__all__ = ["Convolution", "TransposedConvolution", "stages"]


class Convolution(nn.Module):
    """From images (..., *in_shape) to parameters (..., *out_shape).

    Arguments:
        in_shape: (height, width) or (channels, height, width).
        channels: output channels of each stage, each of which halves the image.
        out_shape: event shape of the output.
        hidden: width of a dense layer before the output.
        activation: makes the nonlinearity after each hidden layer.

    >>> Convolution((3, 29, 17), [8, 16], (2, 4))(torch.zeros(5, 7, 3, 29, 17)).shape
    torch.Size([5, 7, 2, 4])
    """

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Sequence[int],
        out_shape: Shape,
        hidden: int = 128,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), as_shape(out_shape)
        first, sizes = stages(self.in_shape, channels, owner="Convolution")
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip([first, *channels[:-1]], channels, strict=True):
            layers += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), activation()]
        flat = channels[-1] * numel(sizes[-1])
        layers += [nn.Flatten(), nn.Linear(flat, hidden), activation(), nn.Linear(hidden, numel(self.out_shape))]
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._image = (first, *sizes[0])

    def forward(self, x: Tensor) -> Tensor:
        """Map images (..., *in_shape) to (..., *out_shape)."""
        ndim = len(self.in_shape)
        if x.shape[x.ndim - ndim :] != self.in_shape:
            raise ValueError(f"Convolution got an input of shape {tuple(x.shape)} and expected (..., {self.in_shape}).")
        lead = x.shape[: x.ndim - ndim]
        return self.layers(x.reshape(-1, *self._image)).view(*lead, *self.out_shape)


class TransposedConvolution(nn.Module):
    """From vectors (..., in_dim) to images (..., *out_shape).

    Arguments:
        in_dim: length of the input vector.
        channels: channels at each stage, from the coarsest; each stage doubles the image.
        out_shape: (..., height, width); the axes before the last two are made by the channels of the last stage.
        hidden: width of a dense layer after the input.
        activation: makes the nonlinearity after each hidden layer.

    The last bias has one entry per pixel and channel, so that a likelihood can start at the mean image.

    >>> TransposedConvolution(4, [16, 8], (2, 3, 29, 17))(torch.zeros(5, 7, 4)).shape
    torch.Size([5, 7, 2, 3, 29, 17])
    """

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_dim: int,
        channels: Sequence[int],
        out_shape: tuple[int, ...],
        hidden: int = 128,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        self.out_shape = as_shape(out_shape)
        image = (numel(self.out_shape[:-2]), *self.out_shape[-2:])
        last, sizes = stages(image, channels, owner="TransposedConvolution")
        coarse = (channels[0], *sizes[-1])
        layers = [nn.Linear(in_dim, hidden), activation(), nn.Linear(hidden, numel(coarse)), activation()]
        layers += [nn.Unflatten(-1, coarse)]
        for stage, (fan_in, fan_out) in enumerate(zip(channels, [*channels[1:], last], strict=True)):
            height, width = sizes[-2 - stage]
            padding = ((height + 1) % 2, (width + 1) % 2)
            layers += [nn.ConvTranspose2d(fan_in, fan_out, 3, 2, 1, output_padding=padding), activation()]
        self.layers = nn.Sequential(*layers[:-1]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.output_bias = nn.Parameter(torch.zeros(self.out_shape))

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors (..., in_dim) to (..., *out_shape)."""
        images = self.layers(z.reshape(-1, z.shape[-1]))
        return images.reshape(*z.shape[:-1], *self.out_shape) + self.output_bias


def stages(image: tuple[int, ...], channels: Sequence[int], *, owner: str) -> tuple[int, list[tuple[int, int]]]:
    """The channels of the image and its size before and after each halving."""
    if len(image) not in (2, 3) or not channels:
        raise ValueError(
            f"{owner} got an image shape of {image} and channels {list(channels)}; it needs (height, width) or "
            "(channels, height, width) and at least one stage. For vectors use MLP."
        )
    height, width = image[-2:]
    sizes = [(height, width)]
    for _ in channels:
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return (image[0] if len(image) == 3 else 1), sizes
