"""Nets of residual states: bottlenecks over vectors and maps, a map of channels alone, enlargement of maps.

A state is a vector (channels,) or a map (channels, height, width). Nets of both differ only in their layers, which are
dense or convolutional, so that one class serves both:

    y = W₄ a(W₃ a(W₂ a(W₁ n(h))))        maps: 1×1, 3×3, 3×3, 1×1 (Child 2021, arXiv:2011.10650)
    y = W₃ a(W₂ a(W₁ n(h)))              vectors

with a = GELU and n a group normalisation (Wu & He 2018, arXiv:1803.08494), which normalises each datum by itself; with
one group it is layer normalisation. A side of a map of at most two places has kernels of one, as in Child's code.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.nets.shapes import Shape, as_shape, numel

__all__ = ["Bottleneck", "Enlarged", "Pointwise", "ResidualStack"]


class Bottleneck(nn.Module):
    """From states (..., *in_shape) to (..., *features, *space), through layers of a few channels.

    Arguments:
        in_shape: (channels,) or (channels, height, width); a list of shapes of equal space for a net of several inputs,
            which are broadcast over their leading axes and stacked by channel.
        hidden: channels of the layers between.
        features: the axes of the output in front of those of space.
        norm_groups: groups of channels of each input that are normalised separately; 0 normalises nothing.
        factor: multiplies the last weights as they were drawn; 0 starts the net at zero.

    Raises:
        ValueError: inputs of different spaces, or a channel count that the groups do not divide.

    >>> Bottleneck([(4, 5, 3), (2, 5, 3)], 8, (2, 6))(torch.zeros(7, 1, 4, 5, 3), torch.zeros(9, 2, 5, 3)).shape
    torch.Size([7, 9, 2, 6, 5, 3])
    """

    cites: ClassVar[tuple[str, ...]] = ("child2021very",)

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_shape: Shape | list[Shape],
        hidden: int,
        features: Shape,
        *,
        norm_groups: int = 1,
        factor: float = 1.0,
    ):
        super().__init__()
        self.in_shapes = [as_shape(shape) for shape in (in_shape if isinstance(in_shape, list) else [in_shape])]
        space = self.in_shapes[0][1:]
        if any(shape[1:] != space for shape in self.in_shapes) or len(space) not in (0, 2):
            raise ValueError(
                f"Bottleneck got inputs of shapes {self.in_shapes} and expected vectors (channels,), or maps "
                "(channels, height, width) of one height and width."
            )
        for channels, *_ in self.in_shapes:
            _check_groups(channels, norm_groups)
        self.norm_groups, self.places = norm_groups, numel(space)
        self.out_shape = (*as_shape(features), *space)
        widths = [sum(shape[0] for shape in self.in_shapes), *([hidden] * (3 if space else 2)), numel(features)]
        layers = [_layer(*pair, space, inner=0 < i < 3) for i, pair in enumerate(pairwise(widths))]
        with torch.no_grad():
            for layer in layers:
                nn.init.zeros_(cast(Tensor, layer.bias))
            layers[-1].weight.mul_(factor)
        self.layers = nn.Sequential(*[part for layer in layers for part in (layer, nn.GELU())][:-1])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map states (..., *in_shape) to (..., *out_shape)."""
        pairs = list(zip(inputs, self.in_shapes, strict=True))
        lead = torch.broadcast_shapes(*(h.shape[: h.ndim - len(shape)] for h, shape in pairs))
        flat = [self._normalised(h).expand(*lead, *shape).reshape(-1, *shape) for h, shape in pairs]
        y = self.layers(flat[0] if len(flat) == 1 else torch.cat(flat, 1))
        return y.reshape(*lead, *self.out_shape)

    def _normalised(self, h: Tensor) -> Tensor:
        if not self.norm_groups:
            return h
        rank = len(self.in_shapes[0])
        flat = h.reshape(-1, *h.shape[h.ndim - rank :])  # before the inputs are expanded to common axes
        return functional.group_norm(flat, self.norm_groups).view(h.shape)


class Pointwise(nn.Linear):
    """W h at every place of a state (..., channels, *space): a dense layer, or a 1×1 convolution.

    Arguments:
        channels: of the input.
        out_channels: of the output.
        ndim: the axes of a state: 1 for vectors, 3 for maps.
        factor: multiplies the weights as they were drawn; the bias starts at zero.
    """

    takes_leading_axes: bool = True

    def __init__(self, channels: int, out_channels: int, ndim: int, factor: float = 1.0):
        super().__init__(channels, out_channels)
        self.ndim = ndim
        with torch.no_grad():
            self.bias.zero_()
            self.weight.mul_(factor)

    def forward(self, input: Tensor) -> Tensor:
        """Map states (..., channels, *space) to (..., out_channels, *space)."""
        return super().forward(input.movedim(-self.ndim, -1)).movedim(-1, -self.ndim)


class Enlarged(nn.Module):
    """The nearest-neighbour enlargement of a map to another height and width, plus a learned constant map.

    Arguments:
        out_shape: (channels, height, width).
    """

    takes_leading_axes: bool = True

    def __init__(self, out_shape: tuple[int, ...]):
        super().__init__()
        self.out_shape = out_shape
        self.constant = nn.Parameter(torch.zeros(out_shape))

    def forward(self, h: Tensor) -> Tensor:
        """Map (..., channels, height, width) to (..., *out_shape)."""
        flat = functional.interpolate(h.reshape(-1, *h.shape[-3:]), size=self.out_shape[1:], mode="nearest")
        return flat.reshape(*h.shape[:-3], *self.out_shape) + self.constant


class ResidualStack(nn.Module):
    """From vectors (..., *in_shape) to states (..., width): a linear layer, then h ← h + bottleneck(h), several times.

    Arguments:
        in_shape: of one datum, which is flattened.
        width: of the state.
        hidden: of each bottleneck.
        depth: the number of bottlenecks.
        norm_groups: of each bottleneck.
    """

    cites: ClassVar[tuple[str, ...]] = ("child2021very", "wu2018group")

    takes_leading_axes: bool = True

    def __init__(self, in_shape: Shape, width: int, hidden: int, depth: int, *, norm_groups: int = 1):
        super().__init__()
        self.in_shape, self.out_shape = as_shape(in_shape), (width,)
        self.first = nn.Linear(numel(self.in_shape), width)
        self.blocks = nn.ModuleList(
            [Bottleneck(width, hidden, width, norm_groups=norm_groups, factor=depth**-0.5) for _ in range(depth)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., *in_shape) to (..., width)."""
        h = self.first(x.flatten(-len(self.in_shape)))
        for block in self.blocks:
            h = h + block(h)
        return h


def _layer(fan_in: int, fan_out: int, space: tuple[int, ...], *, inner: bool) -> nn.Linear | nn.Conv2d:
    """A dense layer for vectors; for maps a convolution, 3×3 between the first and the last one."""
    if not space:
        return nn.Linear(fan_in, fan_out)
    kernel = tuple(3 if inner and side > 2 else 1 for side in space)
    padding = tuple(side // 2 for side in kernel)
    layer = nn.Conv2d(fan_in, fan_out, (kernel[0], kernel[1]), padding=(padding[0], padding[1]))
    return layer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _check_groups(channels: int, norm_groups: int) -> None:
    """Refuse groups that do not divide the channels, and groups of one channel, which a map of one place would lose."""
    if norm_groups < 0 or (norm_groups and (channels % norm_groups or channels // norm_groups < 2)):
        raise ValueError(
            f"norm_groups is {norm_groups} for {channels} channels and must divide them into equal parts of two or "
            "more; 1 normalises all of them together, 0 none."
        )
