"""Series with the path of states behind them."""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lowerbound.plots.style import CLASS_COLOURS, INK, new_figure, style_axes

__all__ = ["series_with_states"]

MOST_SERIES, MOST_NUMBERS = 3, 4
_STYLES = ("-", "--", ":", "-.")


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
        colour = CLASS_COLOURS[int(path[start]) % len(CLASS_COLOURS)]
        axes.axvspan(start - 0.5, end - 0.5, color=colour, alpha=0.25, linewidth=0)
