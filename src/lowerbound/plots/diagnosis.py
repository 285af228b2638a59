"""Pictures of a diagnosis: numbers for each row, a few numbers with their errors, clouds of points, and curves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from lowerbound.plots.histograms import bin_edges, finite
from lowerbound.plots.style import CLASS_COLOURS, DATA, INK, MODEL, MUTED, class_style, new_figure, style_axes, verbatim

__all__ = ["diagnosis_bars", "diagnosis_clouds", "diagnosis_curves", "diagnosis_histograms"]

NUM_BINS = 40
_COLOURS = (MODEL, DATA)
_WIDTH, _HEIGHT = 7.5, 2.8


def diagnosis_histograms(series: Mapping[str, np.ndarray], label: str) -> Figure:
    """Histograms over one axis, each with its mean.

    Arguments:
        series: one or two arrays of finite numbers (N,), by name.
        label: what the numbers are, with their unit.

    Raises:
        ValueError: there is none, or more than two.
    """
    _check(series)
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    edges = bin_edges(np.concatenate([finite(v) for v in series.values()]), NUM_BINS).tolist()
    for colour, (name, values) in zip(_COLOURS, series.items(), strict=False):
        shares = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(values, edges, weights=shares, color=colour, alpha=0.6, label=name)
        axes.axvline(float(np.mean(values)), color=colour, linewidth=1.6)
    style_axes(axes, title="", x=label, y="share of rows")
    axes.set_yticks([])
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def diagnosis_bars(values: Mapping[str, tuple[float, float]], label: str) -> Figure:
    """Bars with their standard errors.

    Arguments:
        values: a number and its standard error, by name.
        label: what the numbers are, with their unit.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("diagnosis_bars got no values and expected at least one.")
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    numbers, errors = zip(*values.values(), strict=True)
    axes.bar(range(len(values)), numbers, 0.7, yerr=errors if any(errors) else None, color=MODEL, ecolor=INK)
    axes.set_xticks(range(len(values)), list(values))
    style_axes(axes, title="", x="", y=label)
    axes.set_ylabel(label, fontsize=8, color=INK)
    axes.grid(False, axis="x")
    return figure


def diagnosis_clouds(series: Mapping[str, np.ndarray], label: str) -> Figure:
    """A scatter plot of points in the plane.

    Arguments:
        series: one or two arrays of points (N, 2), by name.
        label: what the plane is.

    Raises:
        ValueError: there is none, or more than two.
    """
    _check(series)
    figure = new_figure(_WIDTH, 4.2)
    axes = figure.subplots()
    for colour, (name, points) in zip(_COLOURS, series.items(), strict=False):
        axes.scatter(points[:, 0], points[:, 1], s=9, color=colour, alpha=0.6, linewidths=0, label=name)
    style_axes(axes, title="", x=label, y="")
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def diagnosis_curves(
    x: np.ndarray,
    series: Mapping[str, np.ndarray],
    band: tuple[np.ndarray, np.ndarray],
    *,
    x_label: str,
    label: str,
    band_label: str,
) -> Figure:
    """Functions with the band in which they should lie.

    Arguments:
        x: the points (K,).
        series: values at the points (K,), by name; at most eight.
        band: the lower and the upper end of the band at the points.
        x_label: what the points are.
        label: what the values are.
        band_label: what the band is.

    Raises:
        ValueError: there is none, or more than eight.
    """
    if not 1 <= len(series) <= len(CLASS_COLOURS):
        raise ValueError(f"A picture of curves shows one to {len(CLASS_COLOURS)} series and got {len(series)}.")
    figure = new_figure(_WIDTH, 3.6)
    axes = figure.subplots()
    shown: dict[str, Artist] = {band_label: axes.fill_between(x, *band, color=MUTED, alpha=0.25, linewidth=0)}
    for number, (name, values) in enumerate(series.items()):
        colour, _, _, line = class_style(number)
        shown[verbatim(name)] = axes.plot(x, values, color=colour, linestyle=line, linewidth=1.6)[0]
    style_axes(axes, title="", x=x_label, y=label)
    place = {"loc": "outside lower center", "ncols": 3}
    figure.legend(list(shown.values()), list(shown), frameon=False, fontsize=9, labelcolor=INK, **place)
    return figure


def _check(series: Mapping[str, np.ndarray]) -> None:
    if not 1 <= len(series) <= len(_COLOURS):
        raise ValueError(f"A picture of a diagnosis shows one or two series and got {len(series)}.")
