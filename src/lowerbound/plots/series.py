"""Series as lines over their steps: beside reconstructions, beside draws, and on the path of states behind them."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lowerbound.plots.style import DATA, INK, MODEL, class_style, new_figure, style_axes

__all__ = ["series_and_draws", "series_and_reconstructions", "series_with_states"]

MOST_SERIES, MOST_NUMBERS, MOST_DRAWS = 3, 4, 6
_STYLES = ("-", "--", ":", "-.")


def series_and_reconstructions(series: np.ndarray, reconstructions: np.ndarray, *, title: str) -> Figure:
    """Each of up to three series and its reconstruction, with a panel for each of the first four numbers of a step.

    Arguments:
        series: (n, T, D), NaN where a step was not observed.
        reconstructions: of the same shape.
        title: what is seen.

    Raises:
        ValueError: no series, or shapes that differ.
    """
    _check(series)
    if series.shape != reconstructions.shape:
        raise ValueError(
            f"series have shape {series.shape} and reconstructions {reconstructions.shape}; expected one of the same "
            "shape for each series."
        )
    down, across = min(len(series), MOST_SERIES), min(series.shape[2], MOST_NUMBERS)
    figure = new_figure(10.0, 2.2 * down + 0.7)
    panels = figure.subplots(down, across, squeeze=False, sharex=True)
    for i in range(down):
        for d in range(across):
            _line(panels[i, d], series[i, :, d], color=DATA, label="test series")
            _line(panels[i, d], reconstructions[i, :, d], color=MODEL, linestyle="--", label="reconstruction")
            _style(panels[i, d], f"Series {i}", d, series.shape[2], is_last=i == down - 1)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def series_and_draws(series: np.ndarray, draws: np.ndarray, *, title: str) -> Figure:
    """Some series on the left and as many draws on the right, on one scale; a line of panels for each number of a step.

    Arguments:
        series: (n, T, D), NaN where a step was not observed; the first six are drawn, and four numbers of a step.
        draws: (m, T, D).
        title: what is seen.

    Raises:
        ValueError: no series, no draws, or steps that differ.
    """
    _check(series)
    _check(draws)
    if series.shape[1:] != draws.shape[1:]:
        raise ValueError(f"series have shape {series.shape} and draws {draws.shape}; expected the same steps.")
    down = min(series.shape[2], MOST_NUMBERS)
    figure = new_figure(10.0, 2.4 * down + 0.4)
    panels = figure.subplots(down, 2, squeeze=False, sharex=True, sharey="row")
    for d in range(down):
        for axes, some, name, colour in (
            (panels[d, 0], series, "Test series", DATA),
            (panels[d, 1], draws, "Draws", MODEL),
        ):
            for i, one in enumerate(some[:MOST_DRAWS]):
                _line(axes, one[:, d], color=colour, alpha=1 - 0.13 * i)
            _style(axes, name, d, series.shape[2], is_last=d == down - 1)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")
    return figure


def _check(series: np.ndarray) -> None:
    if series.ndim != 3 or 0 in series.shape:
        raise ValueError(f"series have shape {series.shape}; expected (series, steps, numbers), with one at least.")


def _line(axes: Axes, values: np.ndarray, **options: Any) -> None:
    """A line; a step between two that were not observed is a dot."""
    seen = np.isfinite(values)
    before, after = np.roll(seen, 1), np.roll(seen, -1)
    before[0] = after[-1] = False
    (line,) = axes.plot(values, linewidth=1.2, **options)
    alone = np.flatnonzero(seen & ~before & ~after)
    axes.plot(alone, values[alone], ".", color=line.get_color(), alpha=line.get_alpha(), markersize=4)


def _style(axes: Axes, name: str, number: int, count: int, *, is_last: bool) -> None:
    title = name if count == 1 else f"{name}, number {number}"
    style_axes(axes, title=title, x="step" if is_last else "", y="", small=True)


def series_with_states(series: np.ndarray, states: np.ndarray) -> Figure:
    """Each of up to three series over its steps, on bands in the colour of the state, with the states as a line below.

    Arguments:
        series: (n, T, D), NaN where a step was not observed; the first four numbers of a step are drawn.
        states: (n, T), numbers from 0.

    Raises:
        ValueError: no series, or another number of states than of steps.
    """
    if series.ndim != 3 or 0 in series.shape or states.shape != series.shape[:2]:
        raise ValueError(
            f"series have shape {series.shape} and states {states.shape}; expected (series, steps, numbers) and one "
            "state for each step."
        )
    shown = min(len(series), MOST_SERIES)
    figure = new_figure(10.0, 2.9 * shown)
    panels = figure.subplots(2 * shown, 1, squeeze=False, height_ratios=[3, 1] * shown)[:, 0]
    highest = int(states[:shown].max())
    for i in range(shown):
        above, below = panels[2 * i], panels[2 * i + 1]
        _draw_bands(above, states[i])
        for d in range(min(series.shape[2], MOST_NUMBERS)):
            label = f"number {d}" if series.shape[2] > 1 else None
            above.plot(series[i, :, d], _STYLES[d], color=INK, linewidth=1.0, label=label)
        style_axes(above, title=f"Series {i}", x="", y="x", small=True)
        if series.shape[2] > 1 and i == 0:
            above.legend(loc="upper right", frameon=False, fontsize=8, ncols=MOST_NUMBERS)
        _draw_bands(below, states[i])
        below.step(np.arange(len(states[i])), states[i], where="mid", color=INK, linewidth=1.2)
        below.set_ylim(-0.5, highest + 0.5)
        below.set_yticks(range(0, highest + 1, 1 + highest // 6))
        style_axes(below, title="", x="step" if i == shown - 1 else "", y="state", small=True)
        for axes in (above, below):
            axes.set_xlim(-0.5, len(states[i]) - 0.5)
    return figure


def _draw_bands(axes: Axes, path: np.ndarray) -> None:
    """One band for each run of a state."""
    ends = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    for start, end in pairwise(ends):
        colour = class_style(int(path[start])).colour
        axes.axvspan(start - 0.5, end - 0.5, color=colour, alpha=0.25, linewidth=0)
