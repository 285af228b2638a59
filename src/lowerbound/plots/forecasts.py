"""Series, and what a model says follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lowerbound.plots.style import CLASS_COLOURS, INK, new_figure, style_axes, verbatim

if TYPE_CHECKING:
    from lowerbound.verbs.forecasting import Forecast

__all__ = ["series_with_forecasts"]

_MOST_SERIES, _MOST_CHANNELS = 3, 4


def series_with_forecasts(series: np.ndarray, forecast: Forecast) -> Figure:
    """Each channel of up to three series over its steps, the mean of what follows, and its interval as a band.

    Arguments:
        series: (n, T, C) in the units of the forecast, NaN where a number was not observed.
        forecast: of these series, as `Fitted.forecast` gives it.

    Raises:
        ValueError: no series, or a forecast of others.
    """
    if series.ndim != 3 or 0 in series.shape or len(series) != len(forecast.mean):
        raise ValueError(
            f"series have shape {series.shape}; expected (series, steps, channels), those of the forecast."
        )
    across, down = min(len(series), _MOST_SERIES), min(series.shape[2], _MOST_CHANNELS)
    named = forecast.schema.series
    channels = [f"channel {d}" for d in range(down)] if named is None else list(named.channels[:down])
    figure = new_figure(4.2 * across, 1.9 * down + 0.5)
    panels = figure.subplots(down, across, squeeze=False, sharex="col", sharey="row")
    for i in range(across):
        begins = int(forecast.begins[i])
        ahead = np.arange(begins, begins + forecast.mean.shape[1])
        for d in range(down):
            axes, colour = panels[d, i], CLASS_COLOURS[d % len(CLASS_COLOURS)]
            axes.plot(np.arange(begins), series[i, :begins, d], color=INK, marker=".", markersize=3, linewidth=1)
            axes.fill_between(ahead, forecast.lower[i, :, d], forecast.upper[i, :, d], color=colour, alpha=0.25)
            axes.plot(ahead, forecast.mean[i, :, d], color=colour, linewidth=1.6)
            name = f"series {i}" if forecast.names is None else verbatim(forecast.names[i][:30])
            x, y = "step" if d == down - 1 else "", verbatim(channels[d][:24]) if i == 0 else ""
            style_axes(axes, title=name if d == 0 else "", x=x, y=y, small=True)
    figure.suptitle(f"Mean and interval of {100 * forecast.interval:g} % of the next steps", fontsize=10)
    return figure
