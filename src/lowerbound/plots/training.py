"""The course of training: the bound, its two parts, the gradient and the learning rate against the step.

The parts follow from the logged terms: distortion = −log p(x | z), rate = log q(z | x) − log p(z).
The first steps are often hundreds of nats below the rest. If they would flatten the rest, the vertical axis covers only
the last nine tenths of training, and the panel says so.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lowerbound.criterion import chooses, criterion_of, described, unit_of
from lowerbound.plots.style import DATA, INK, MODEL, MUTED, new_figure, step_axis, style_axes

__all__ = ["training_curves"]

Record: TypeAlias = Mapping[str, Any]
Series: TypeAlias = tuple[np.ndarray, np.ndarray]

_PARTS = ({"likelihood", "prior", "posterior"}, {"likelihood", "estimated_rate"})
_PART_TITLES = {"distortion": "Distortion −log p(x | z)", "rate": "Rate log q(z | x) − log p(z)"}
_ESTIMATED = "Rate, estimated"


def training_curves(records: Sequence[Any]) -> Figure:
    """Training and held-out bound against the step, with distortion, rate, gradient and learning rate beside.

    >>> record = {"step": 1, "terms": {"bound": -9.0}, "held_out": None, "gradient_norm": 2.0,
    ...           "learning_rate": 0.1, "is_best": False}
    >>> [axes.get_title(loc="left") for axes in training_curves([record]).axes]
    ['Bound per datum', 'Gradient norm', 'Learning rate']

    Arguments:
        records: `record.Record`s, or dictionaries with their names: step, terms, held_out (or None), gradient_norm,
            learning_rate and is_best; terms are nats per datum. Distortion and rate are drawn where the terms
            likelihood, prior and posterior are there, or likelihood and estimated_rate. The first panel says where its
            values are an estimate (`criterion`).

    Raises:
        ValueError: there is no record.
    """
    if not records:
        raise ValueError("training_curves got no record and expected at least one; train for a while first.")
    metrics: list[Record] = [dataclasses.asdict(r) if dataclasses.is_dataclass(r) else r for r in records]  # type: ignore[arg-type]
    figure = new_figure(11.0, 5.0)
    parts = any(_has_parts(record["terms"]) for record in metrics)
    mosaic = "bbdr;bbgl" if parts else "bbg;bbl"
    panels = figure.subplot_mosaic(mosaic)
    _draw_bound(panels["b"], metrics)
    estimated = any("estimated_rate" in record["terms"] for record in metrics)
    for name, title in _PART_TITLES.items() if parts else ():
        axes, title = panels[name[0]], _ESTIMATED if estimated and name == "rate" else title
        _draw_terms(axes, metrics, name)
        style_axes(axes, title=title, x="step", y="nats", small=True)
        step_axis(axes, 4)
    _draw_side(panels["g"], metrics, "gradient_norm", "Gradient norm", "norm")
    _draw_side(panels["l"], metrics, "learning_rate", "Learning rate", "step size")
    return figure


def _draw_bound(axes: Axes, metrics: Sequence[Record]) -> None:
    criterion = criterion_of(metrics[-1]["terms"])
    _draw_terms(axes, metrics, criterion)
    best = [r for r in metrics if r.get("is_best") and criterion in (r.get("held_out") or {})]
    if best:
        step, value = best[-1]["step"], best[-1]["held_out"][criterion]
        label = f"best weights ({value:,.2f})".replace("-", "−")
        axes.plot(step, value, "o", color=DATA, markersize=8, markeredgecolor=INK, label=label)
    title = f"{described(criterion).capitalize()} per datum"
    unit = unit_of(criterion)
    style_axes(axes, title=title, x="step", y=f"{unit} (higher is better)" if chooses(criterion) else unit)
    step_axis(axes, 6)
    axes.legend(loc="lower right", frameon=False, fontsize=9.5, labelcolor=INK)


def _draw_terms(axes: Axes, metrics: Sequence[Record], name: str) -> None:
    """The training and held-out values of one quantity, where there are any."""
    drawn: list[Series] = []
    for key, label, colour in (("terms", "training", MODEL), ("held_out", "held out", DATA)):
        steps, values = _series(metrics, key, name)
        if len(steps):
            marker = "." if len(steps) == 1 or key == "held_out" else None
            axes.plot(steps, values, color=colour, label=label, linewidth=1.6, marker=marker)
            drawn.append((steps, values))
    _focus(axes, drawn)


def _series(metrics: Sequence[Record], key: str, name: str) -> Series:
    of_parts = name in _PART_TITLES
    there = [r for r in metrics if (_has_parts(r.get(key) or ()) if of_parts else name in (r.get(key) or ()))]
    found = [(r["step"], _quantity(r[key], name)) for r in there]  # a record that was altered may lack some
    steps, values = zip(*found, strict=True) if found else ((), ())
    return np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)


def _quantity(terms: Record, name: str) -> float:
    if name == "distortion":
        return -float(terms["likelihood"])
    if name == "rate":
        return float(terms["estimated_rate"] if "estimated_rate" in terms else terms["posterior"] - terms["prior"])
    return float(terms[name])


def _has_parts(terms: Collection[str]) -> bool:
    return any(set(terms) >= needed for needed in _PARTS)


def _focus(axes: Axes, drawn: Iterable[Series]) -> None:
    """Leave the first tenth of training outside the panel if it would take most of the height."""
    drawn = list(drawn)
    everything = np.concatenate([values for _, values in drawn])
    last = max(steps[-1] for steps, _ in drawn)
    late = np.concatenate([values[steps > last / 10] for steps, values in drawn])
    full, span = np.ptp(everything), np.ptp(late)
    if not 0 < span < full / 2:
        return
    axes.set_ylim(late.min() - 0.08 * span, late.max() + 0.08 * span)
    axes.text(
        0.99,
        0.99,
        "first steps out of view",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=7.5,
        color=MUTED,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _draw_side(axes: Axes, metrics: Sequence[Record], key: str, title: str, unit: str) -> None:
    values = [r[key] for r in metrics]
    marker = "." if len(values) == 1 else None
    axes.plot([r["step"] for r in metrics], values, color=INK, linewidth=1.1, marker=marker)
    style_axes(axes, title=title, x="step", y=unit, small=True)
    step_axis(axes, 4)
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    axes.yaxis.get_offset_text().set_fontsize(7.5)
