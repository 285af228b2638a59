"""Convolutional nets on pictures of any size, in windows whose edges are not seen.

A net that halves its picture s times, or doubles a map s times, looks no farther than 8 cells of the coarser of the two
to each side, whatever s is: 3 Σ_j 2^j < 3 · 2^s pixels, where `nets.ToMap` halves; 1 + 2 Σ_j 2^−j < 5 cells and a few
pixels, where `nets.FromMap` doubles. A window is therefore a tile of cells with a margin of 8 cells, of which only the
tile is kept: what is put together is what the net gives for the whole picture. Margins end with the picture, where the
net pads with zeros as it does in training. Windows begin at multiples of 2^s pixels, so that cells are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn

from lowerbound.nets import FromMap, ToMap
from lowerbound.nets.maps import map_shape

__all__ = ["Window", "from_windows", "to_map", "windows_of"]

_MARGIN, _TILE = 8, 64


class Window(NamedTuple):
    """A part of a picture, and of the map of its cells, along one axis.

    Attributes:
        cells: seen.
        kept: of the cells.
        pixels: seen.
        kept_pixels: of the pixels.
    """

    cells: slice
    kept: slice
    pixels: slice
    kept_pixels: slice


def windows_of(length: int, stages: int, tile: int = _TILE) -> list[Window]:
    """The windows along an axis of so many pixels.

    >>> [(w.cells.start, w.kept.start, w.kept.stop, w.cells.stop) for w in windows_of(400, 2)]
    [(0, 0, 64, 72), (56, 64, 100, 100)]
    """
    unit = 1 << stages
    cells, found = -(-length // unit), list[Window]()
    for first in range(0, cells, tile):
        kept = slice(first, min(first + tile, cells))
        seen = slice(max(0, kept.start - _MARGIN), min(cells, kept.stop + _MARGIN))
        pixels, kept_pixels = (slice(part.start * unit, min(length, part.stop * unit)) for part in (seen, kept))
        found.append(Window(seen, kept, pixels, kept_pixels))
    return found


def to_map(net: ToMap, x: Tensor) -> Tensor:
    """The map (B, *features, cells, cells) of pictures (B, [channel,] height, width) of any size."""
    found = x.new_empty(len(x), *net.out_shape[:-2], *map_shape(x.shape[-2:], net.num_stages))
    for down, across in _all(x.shape, net.num_stages):
        seen = x[..., down.pixels, across.pixels]
        cells = net.of_size(*seen.shape[-2:])(seen)
        kept = _within(down.kept, down.cells), _within(across.kept, across.cells)
        found[..., down.kept, across.kept] = cells[(..., *kept)]
    return found


def from_windows(net: FromMap, cells: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, slice, Tensor]]:
    """Parts of the images (B, …, height, width) of this size that the net makes of a map (B, features, cells, cells),
    with their places.
    """
    sized = _sized(net)
    for down, across in _all(size, net.num_stages):
        pixels = sized(down.pixels.stop - down.pixels.start, across.pixels.stop - across.pixels.start)(
            cells[..., down.cells, across.cells]
        )
        kept = _within(down.kept_pixels, down.pixels), _within(across.kept_pixels, across.pixels)
        yield down.kept_pixels, across.kept_pixels, pixels[(..., *kept)]


def _sized(net: FromMap) -> Callable[[int, int], nn.Module]:
    """The net for windows of each size, of which there are few."""
    known = dict[tuple[int, int], nn.Module]()

    def sized(height: int, width: int) -> nn.Module:
        if (height, width) not in known:
            known[height, width] = net.of_size(height, width)
        return known[height, width]

    return sized


def _all(size: tuple[int, ...], stages: int) -> Iterator[tuple[Window, Window]]:
    return product(windows_of(size[-2], stages), windows_of(size[-1], stages))


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
