"""Rate against distortion: what each of several runs takes for a pixel, and how near what comes back is."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lowerbound.plots.style import GRID, INK, class_style, new_figure, style_axes, verbatim

__all__ = ["rate_distortion_front"]


def rate_distortion_front(points: Mapping[str, tuple[float, float]]) -> Figure:
    """PSNR (dB) against bits per pixel, one point for each run, joined in the order of their rates.

    Arguments:
        points: bits per pixel and PSNR, by the name of the run.

    Raises:
        ValueError: there is none.
    """
    if not points:
        raise ValueError("rate_distortion_front got no runs and expected at least one.")
    figure = new_figure(9.0, 4.2)
    axes = figure.subplots()
    both = np.array(list(points.values()), dtype=np.float64)
    axes.plot(*both[both[:, 0].argsort()].T, color=GRID, linewidth=1.6, zorder=1)
    for number, (name, (rate, ratio)) in enumerate(points.items()):
        style = class_style(number)
        axes.scatter([rate], [ratio], color=style.colour, marker=style.marker, label=verbatim(name), zorder=2)
    style_axes(axes, title="Rate and distortion", x="bits per pixel (lower is better)", y="PSNR, dB (higher is better)")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    return figure
