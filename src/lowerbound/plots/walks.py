"""Walks through the latent space: images in rows or as an animation, columns and series as lines."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from lowerbound.plots.images import tiled
from lowerbound.plots.style import class_style, new_figure, style_axes, verbatim

__all__ = ["image_animation", "walks_of_columns", "walks_of_series"]

_MOST_COLUMNS, _MOST_WALKS = 12, 8
_MILLISECONDS, _PIXELS = 120, 320


def image_animation(frames: np.ndarray) -> bytes:
    """An endless GIF of images that go forth and back.

    Arguments:
        frames: (frame, tile, H, W) or (frame, tile, C, H, W) in [0, 1]; the tiles of a frame lie in a grid.
    """
    from PIL import Image

    pictures = [(tiled(frame) * 255).round().astype(np.uint8) for frame in frames]
    factor = max(1, _PIXELS // max(pictures[0].shape[:2]))
    images = [Image.fromarray(picture.repeat(factor, 0).repeat(factor, 1)) for picture in pictures]
    images += images[-2:0:-1]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0)
    return buffer.getvalue()


def walks_of_columns(
    values: np.ndarray,
    columns: Sequence[str],
    walks: Sequence[str],
    categories: Mapping[str, Sequence[str]] | None = None,
    *,
    title: str,
) -> Figure:
    """A panel for each column, and in it a line for each walk.

    Arguments:
        values: (walk, step, column).
        columns: their names; the twelve that move most are drawn.
        walks: their names; the first eight are drawn.
        categories: names of the classes of a column, in the order of their numbers.
        title: what is seen.
    """
    moved = np.ptp(values, 1).max(0) / np.maximum(values.reshape(-1, values.shape[-1]).std(0), 1e-12)
    order = sorted(np.argsort(-moved, kind="stable")[:_MOST_COLUMNS].tolist())
    across = min(3, len(order))
    down = -(-len(order) // across)
    figure = new_figure(3.4 * across, 2.4 * down + 0.6)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    t = np.linspace(0, 1, values.shape[1])
    for axes, place in zip(panels, order, strict=False):
        for w in range(min(len(values), _MOST_WALKS)):
            style, label = class_style(w), verbatim(walks[w])
            line = {"color": style.colour, "linestyle": style.line, "marker": style.marker}
            axes.plot(t, values[w, :, place], **line, markersize=3, linewidth=1.2, label=label)
        style_axes(axes, title=verbatim(str(columns[place])), x="along the walk", y="", small=True)
        if categories and (names := categories.get(str(columns[place]))):
            axes.set_yticks(range(len(names)), [verbatim(name) for name in names], fontsize=8)
            axes.set_ylim(-0.5, len(names) - 0.5)
    for axes in panels[len(order) :]:
        axes.set_axis_off()
    if len(values) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def walks_of_series(series: np.ndarray, walks: Sequence[str], *, title: str) -> Figure:
    """A panel for each walk and number of a step, and in it a line for each step of the walk, from dark to light.

    Arguments:
        series: (walk, step, T, D); the first eight walks and four numbers are drawn.
        walks: their names.
        title: what is seen.
    """
    walks, across = walks[:_MOST_WALKS], min(series.shape[3], 4)
    figure = new_figure(3.6 * across + 1, 2.2 * len(walks) + 0.6)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    panels = figure.subplots(len(walks), across, squeeze=False)
    colours = colormaps["viridis"](np.linspace(0, 0.9, series.shape[1]))
    for w, name in enumerate(walks):
        for d in range(across):
            for step, colour in enumerate(colours):
                panels[w, d].plot(series[w, step, :, d], color=colour, linewidth=1.1)
            what = f"{verbatim(name)}, number {d}" if across > 1 else verbatim(name)
            style_axes(panels[w, d], title=what, x="step", y="", small=True)
    return figure
