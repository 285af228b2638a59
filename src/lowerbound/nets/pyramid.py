"""A pyramid of maps of an image, which the groups of a very deep hierarchy read (Child 2021, arXiv:2011.10650).

    first halvings (`ToMap`), then at each resolution  h ← h + bottleneck(h),  kept, and  h ← mean over 2×2 places

for images of any height, width and number of channels: ⌈h/2⌉ × ⌈w/2⌉ at each halving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound.nets.maps import ToMap
from lowerbound.nets.residual import Bottleneck

__all__ = ["Pyramid", "pyramid_sizes"]


def pyramid_sizes(image: tuple[int, ...], halvings: int, resolutions: int) -> list[tuple[int, int]]:
    """The height and width at each resolution, from the coarsest to the finest, which is the image halved `halvings`
    times.

    Raises:
        ValueError: data that are no images, no halving, or an image that is too small for so many resolutions.

    >>> pyramid_sizes((28, 28), 1, 3)
    [(4, 4), (7, 7), (14, 14)]
    """
    if len(image) not in (2, 3) or halvings < 1 or resolutions < 1:
        raise ValueError(
            f"A pyramid got data of shape {image}, halvings={halvings} and {resolutions} resolutions; it needs images "
            "(height, width) or (channels, height, width), one halving or more, and one resolution or more."
        )
    possible = max(side - 1 for side in image[-2:]).bit_length()  # ⌈side/2⌉ reaches 1 after so many halvings
    if halvings + resolutions - 1 > possible:
        raise ValueError(
            f"An image of {image[-2]}×{image[-1]} can be halved {possible} times, and halvings={halvings} with numbers "
            f"of groups for {resolutions} resolutions takes {halvings + resolutions - 1}; take fewer of either."
        )
    height, width = image[-2:]
    sizes = []
    for step in range(1, halvings + resolutions):
        height, width = (height + 1) // 2, (width + 1) // 2
        if step >= halvings:
            sizes.append((height, width))
    return sizes[::-1]


class Pyramid(nn.Module):
    """From images (..., *in_shape) to one map (..., width, height, width) for each group, the coarsest first.

    Arguments:
        in_shape: (height, width) or (channels, height, width).
        groups: how many groups read each resolution, from the coarsest to the finest.
        width: channels of the maps.
        hidden: channels between those of each bottleneck.
        halvings: of the image before the finest resolution.
        norm_groups: of each bottleneck.

    Raises:
        ValueError: as `pyramid_sizes`.

    >>> [a.shape for a in Pyramid((3, 9, 5), [1, 2], 4, 2)(torch.zeros(7, 3, 9, 5))]
    [torch.Size([7, 4, 3, 2]), torch.Size([7, 4, 5, 3]), torch.Size([7, 4, 5, 3])]
    """

    cites: ClassVar[tuple[str, ...]] = ("child2021very",)

    takes_leading_axes: bool = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        groups: Sequence[int],
        width: int,
        hidden: int,
        *,
        halvings: int = 1,
        norm_groups: int = 1,
    ):
        super().__init__()
        self.groups = tuple(groups)
        self.sizes = pyramid_sizes(in_shape, halvings, len(groups))
        self.first = ToMap(in_shape, [width] * halvings, (width,), nn.GELU)
        factor = len(groups) ** -0.5
        self.blocks = nn.ModuleList(
            [Bottleneck((width, *size), hidden, width, norm_groups=norm_groups, factor=factor) for size in self.sizes]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The maps, in the order of drawing."""
        h, maps = self.first(x), []
        for size, block in zip(reversed(self.sizes), reversed(self.blocks), strict=True):
            if h.shape[-2:] != torch.Size(size):
                lead = h.shape[:-3]
                pooled = functional.adaptive_avg_pool2d(h.reshape(-1, *h.shape[-3:]), size)
                h = pooled.reshape(*lead, *pooled.shape[1:])
            h = h + block(h)
            maps.append(h)
        return tuple(a for a, count in zip(reversed(maps), self.groups, strict=True) for _ in range(count))
