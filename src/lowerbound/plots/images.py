"""Grids of images: samples of a model, and data beside their reconstructions.

A grid is one picture of tiles with gaps between them, drawn without interpolation, so that a pixel of the data is a
square of the figure. Grey images are black at the lower end of the value range and white at the upper end; values
beyond the range are clipped.
"""

import math
import textwrap

import numpy as np
from matplotlib.figure import Figure

from lowerbound.plots.style import INK, new_figure

__all__ = ["image_grid", "originals_and_reconstructions", "tiled"]

_GAP = np.float64(0.82)
"""The grey of the gaps: neither the black nor the white of an image."""
_NARROWEST, _LETTERS = 3.5, 10  # inches of a figure; letters of a title to an inch


def image_grid(
    images: np.ndarray,
    columns: int | None = None,
    *,
    title: str = "Images",
    value_range: tuple[float | int, float | int] = (0.0, 1.0),
) -> Figure:
    """Images in rows, left to right and top to bottom.

    Arguments:
        images: (n, H, W), or (n, C, H, W) with 1 channel (grey), 2 (red, green), or 3 or more (the
            first three are red, green, blue).
        columns: images per row; None chooses the grid with the fewest empty places and, among these, the most nearly
            square one that is not higher than wide.
        title: what is seen.
        value_range: the values drawn as black and as white.

    Raises:
        ValueError: there is no image, the axes are others, or columns is below 1.
    """
    tiles = _as_rgb(images, value_range)
    if columns is None:
        columns = _balanced(len(tiles))
    if columns < 1:
        raise ValueError(f"image_grid got columns={columns} and needs at least 1.")
    return _show(_tile(tiles, columns, gap=1), title)


def originals_and_reconstructions(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    *,
    columns: int = 6,
    title: str = "Images (left of each pair) and their reconstructions (right)",
    value_range: tuple[float | int, float | int] = (0.0, 1.0),
) -> Figure:
    """Pairs of images side by side, the original on the left.

    Arguments:
        originals: (n, H, W) or (n, C, H, W), as for `image_grid`.
        reconstructions: of the same shape.
        columns: pairs per row.
        title: what is seen.
        value_range: the values drawn as black and as white.

    Raises:
        ValueError: the shapes differ, or what `image_grid` refuses.
    """
    if originals.shape != reconstructions.shape:
        raise ValueError(
            f"originals have shape {originals.shape} and reconstructions {reconstructions.shape}; "
            "expected one reconstruction of the same shape for each original."
        )
    if columns < 1:
        raise ValueError(f"originals_and_reconstructions got columns={columns} and needs at least 1.")
    left, right = _as_rgb(originals, value_range), _as_rgb(reconstructions, value_range)
    pairs = np.concatenate([left, right], axis=2)
    return _show(_tile(pairs, min(columns, len(pairs)), gap=max(1, min(left.shape[1:3]) // 8)), title)


def tiled(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """The grid of `image_grid` as colours (H, W, 3) in [0, 1], a pixel for each of the images."""
    tiles = _as_rgb(images, (0.0, 1.0))
    return _tile(tiles, columns or _balanced(len(tiles)), gap=1)


def _balanced(num_images: int) -> int:
    """Images per row, between the square root of their number and twice that."""
    root = math.sqrt(num_images)
    choices = range(math.ceil(root), min(num_images, math.ceil(2 * root)) + 1)
    return min(choices, key=lambda columns: (-num_images % columns, columns))


def _as_rgb(images: np.ndarray, value_range: tuple[float | int, float | int]) -> np.ndarray:
    """(n, H, W, 3) in [0, 1]."""
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"images have shape {images.shape}; expected (n, H, W) or (n, C, H, W) with at least one "
            "image: reshape them."
        )
    low, high = value_range
    x = images if images.ndim == 4 else images[:, None]
    x = np.clip((x.astype(np.float64) - low) / (high - low), 0, 1)
    if x.shape[1] == 1:
        x = x.repeat(3, axis=1)
    elif x.shape[1] == 2:
        x = np.concatenate([x, np.zeros_like(x[:, :1])], axis=1)
    return np.moveaxis(x[:, :3], 1, -1)


def _tile(tiles: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """One picture made of tiles (n, H, W, 3), with gaps between and around them."""
    n, height, width, _ = tiles.shape
    rows = -(-n // columns)
    picture = np.ones((rows * (height + gap) + gap, columns * (width + gap) + gap, 3)) * _GAP
    for i, tile in enumerate(tiles):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        picture[top : top + height, left : left + width] = tile
    return picture


def _show(picture: np.ndarray, title: str) -> Figure:
    """The picture at most 9 inches wide and 9 high, under a title in as many lines as it needs."""
    height, width, _ = picture.shape
    scale = 9 / max(width, height)
    wide = max(width * scale, _NARROWEST)
    lines = textwrap.wrap(title, int(wide * _LETTERS))
    figure = new_figure(wide, height * scale + 0.15 + 0.2 * len(lines))
    axes = figure.subplots()
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    axes.set_anchor("W")
    axes.set_title("\n".join(lines), loc="left", fontsize=11, color=INK, fontweight="bold")
    return figure
