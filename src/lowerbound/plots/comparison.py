"""Pictures of several runs: how training went in each, and how far each is from the best."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lowerbound.criterion import Criterion, criterion_of, described
from lowerbound.plots.style import INK, MODEL, MUTED, class_style, new_figure, step_axis, style_axes, verbatim

__all__ = ["comparison_curves", "comparison_differences"]


def comparison_curves(records: Mapping[str, Sequence[Mapping[str, Any]]], log_scales: Sequence[float]) -> Figure:
    """The held-out bound of each run against the step; that of training where nothing was held out.

    Arguments:
        records: of training, by the name of the run; runs without records (solved exactly) are left out.
        log_scales: what is taken off the bound of each run, nats, so that all are in the units of the data.

    Raises:
        ValueError: no run has records.
    """
    figure = new_figure(9.0, 4.2)
    axes = figure.subplots()
    late: list[np.ndarray] = []
    lines: dict[str, Line2D] = {}
    for number, ((name, found), scale) in enumerate(zip(records.items(), log_scales, strict=True)):
        criterion = criterion_of(found[-1]["terms"] if found else {})
        held_out = [(r["step"], r["held_out"][criterion]) for r in found if criterion in (r.get("held_out") or {})]
        series = np.array(held_out or [(r["step"], r["terms"][criterion]) for r in found], dtype=np.float64).reshape(
            -1, 2
        )
        if not len(series) or not series[-1, 0]:
            continue
        series[:, 1] -= scale
        colour, _, _, line = class_style(number)
        marker = "." if len(series) == 1 else None
        label = verbatim(_label(name, criterion))
        lines[label] = axes.plot(*series.T, color=colour, linestyle=line, marker=marker, linewidth=1.6)[0]
        late.append(series[series[:, 0] > series[-1, 0] / 10, 1])
    if not late:
        raise ValueError("comparison_curves got no records of training; runs that were solved exactly have none.")
    low, high = min(part.min() for part in late), max(part.max() for part in late)
    if low < high:
        axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    style_axes(axes, title="Bound on rows held out from training", x="step", y="nats per row (higher is better)")
    step_axis(axes, 6)
    axes.legend(list(lines.values()), list(lines), frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    return figure


def _label(name: str, criterion: Criterion) -> str:
    """The name of a run, and what its curve is where it is no bound."""
    return name if criterion == "bound" else f"{name}: {described(criterion)}"


def comparison_differences(differences: Mapping[str, tuple[float, float]]) -> Figure:
    """Each run's difference to the best with two standard errors on each side.

    Arguments:
        differences: the mean and its standard error, nats, by the name of the run.

    Raises:
        ValueError: there is none.
    """
    if not differences:
        raise ValueError("comparison_differences got no runs and expected at least one.")
    figure = new_figure(9.0, 1.2 + 0.35 * len(differences))
    axes = figure.subplots()
    means, errors = np.array(list(differences.values()), dtype=np.float64).T
    places = np.arange(len(differences))
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.errorbar(means, places, xerr=2 * errors, fmt="o", color=MODEL, ecolor=INK, capsize=3)
    axes.set_yticks(places, [verbatim(name) for name in differences])
    axes.invert_yaxis()
    style_axes(axes, title="Difference to the best", x="nats per row, ± 2 standard errors", y="")
    axes.grid(False, axis="y")
    return figure
