"""The noise of gradient estimators: variance and signal-to-noise ratio for each group of parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lowerbound.plots.style import INK, class_style, new_figure, style_axes

__all__ = ["gradient_noise"]


def gradient_noise(estimators: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Bars with their standard errors, one for each estimator in each group of parameters, on logarithmic axes.

    Arguments:
        estimators: by name, each with `groups`: by name, each with the statistics `variance` and `snr`, which have a
            `value` and a `standard_error`; a value that is not a positive number is not drawn.

    Raises:
        ValueError: there is no estimator.
    """
    if not estimators:
        raise ValueError("gradient_noise got no estimator and expected at least one.")
    groups = list(next(iter(estimators.values()))["groups"])
    figure = new_figure(11.0, 3.6 + 0.15 * len(estimators))
    panels = figure.subplots(1, 2)
    _draw(panels[0], estimators, groups, "variance")
    style_axes(panels[0], title="Variance of the gradient", x="parameters of", y="nats² (lower is better)")
    _draw(panels[1], estimators, groups, "snr")
    style_axes(panels[1], title="Signal-to-noise ratio", x="parameters of", y="higher is better")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _draw(axes: Axes, estimators: Mapping[str, Mapping[str, Any]], groups: list[str], statistic: str) -> None:
    width = 0.8 / len(estimators)
    for i, (name, entry) in enumerate(estimators.items()):
        found = [entry["groups"][group][statistic] for group in groups]
        values = np.array([_positive(f["value"]) for f in found])
        errors = np.array([_positive(f["standard_error"]) for f in found])
        colour, _, hatch, _ = class_style(i)
        place = np.arange(len(groups)) + (i - (len(estimators) - 1) / 2) * width
        axes.bar(place, values, 0.9 * width, yerr=errors, label=name, color=colour, hatch=hatch, ecolor=INK)
    axes.set_yscale("log")
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(False, axis="x")


def _positive(value: float | None) -> float:
    return value if value is not None and 0 < value < float("inf") else float("nan")
