"""Statistics of data among those of data sets that a model makes."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lowerbound.plots.style import DATA, INK, MODEL, new_figure, style_axes, verbatim

__all__ = ["predictive_statistics"]

_FARTHEST = 8.0
_LONGEST = 48


def predictive_statistics(
    found: Mapping[str, tuple[float, float, float, float]], written: Mapping[str, str] | None = None
) -> Figure:
    """A dot for each statistic of the data, over the band of 95 % of data sets that the model makes.

    Arguments:
        found: by name: the statistic of the data, the ends of its 95 % interval under the model, and how many standard
            deviations it is from the mean; beyond eight it is drawn at eight.
        written: the statistic and its interval in words, by name, where they are no plain numbers; None writes these.

    Raises:
        ValueError: there is none.
    """
    if not found:
        raise ValueError("predictive_statistics got no statistics and expected at least one.")
    figure = new_figure(9.0, 1.2 + 0.3 * len(found))
    axes = figure.subplots()
    places = np.arange(len(found))
    far = np.array([distance for *_, distance in found.values()], dtype=np.float64)
    axes.axvspan(-1.96, 1.96, color=MODEL, alpha=0.18, linewidth=0)
    axes.scatter(np.clip(far, -_FARTHEST, _FARTHEST), places, color=DATA, s=28, zorder=3)
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 21]}…{name[-20:]}" for name in found]
    numbers = {name: f"{at:.3g} ({low:.3g} to {high:.3g})" for name, (at, low, high, _) in found.items()}
    values = [numbers[name] if written is None else written[name] for name in found]
    axes.set_yticks(places, [f"{verbatim(name)}  {value}" for name, value in zip(names, values, strict=True)])
    axes.set_xlim(-_FARTHEST - 0.5, _FARTHEST + 0.5)
    axes.invert_yaxis()
    style_axes(axes, title="", x="standard deviations from the mean of the model's data sets", y="")
    axes.tick_params(axis="y", labelsize=8, colors=INK)
    axes.grid(False, axis="y")
    return figure
