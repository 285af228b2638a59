"""Whether samples of a table look like the data, one column at a time."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lowerbound.data.dates import date_in_words
from lowerbound.plots.histograms import bin_edges, finite
from lowerbound.plots.style import DATA, INK, MODEL, new_figure, style_axes, verbatim

__all__ = ["table_marginals"]

MOST_COLUMNS = 12
NUM_BINS = 30
_MOST_CLASSES, _LONGEST = 6, 9


Meaning: TypeAlias = Sequence[str] | str | None
"""What the numbers of a column are: names of 0, 1, …; the `strftime` format of seconds since 1970; or None."""


def table_marginals(
    original: np.ndarray,
    samples: np.ndarray,
    feature_names: Sequence[str] | None = None,
    meanings: Sequence[Meaning] | None = None,
) -> Figure:
    """The histogram of each column of the data (filled) and of the samples (outline), up to twelve columns.

    Both have the same bins, and heights are fractions of the rows. The bins cover all finite data, and samples up to
    one range of the data beyond them; the number of samples further out (or not finite) is written above the panel.

    Arguments:
        original: (N, D), in the units of the table.
        samples: (M, D), in the same units.
        feature_names: the names of the columns.
        meanings: of their numbers; None for numbers alone.

    Raises:
        ValueError: tables of different columns, an empty table, or the wrong number of names or meanings.
    """
    if original.ndim != 2 or original.shape[1:] != samples.shape[1:] or 0 in original.shape:
        raise ValueError(
            f"data have shape {original.shape} and samples {samples.shape}; expected two tables with "
            "the same columns and at least one row."
        )
    if feature_names is not None and len(feature_names) != original.shape[1]:
        raise ValueError(
            f"feature_names has {len(feature_names)} names; expected one for each of the {original.shape[1]} columns."
        )
    if meanings is not None and len(meanings) != original.shape[1]:
        raise ValueError(
            f"meanings has {len(meanings)} entries; expected one for each of the {original.shape[1]} columns."
        )
    names = feature_names or [f"column {i}" for i in range(original.shape[1])]
    shown = min(original.shape[1], MOST_COLUMNS)
    columns = min(shown, 4)
    rows = -(-shown // columns)
    figure = new_figure(2.75 * columns + 0.2, 2.3 * rows + 0.7)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for i, axes in enumerate(panels):
        if i < shown:
            _draw_column(axes, original[:, i], samples[:, i], str(names[i]), None if meanings is None else meanings[i])
        else:
            axes.remove()
    _caption(figure, panels[0], shown, original.shape[1])
    return figure


def _draw_column(axes: Axes, data: np.ndarray, samples: np.ndarray, name: str, meaning: Meaning) -> None:
    data, candidates = finite(data), finite(samples)
    view = bin_edges(data, 1)
    reach = view[1] / 2 - view[0] / 2 if data.size and data.min() == data.max() else view[1] - view[0]
    seen = candidates[(candidates >= view[0] - reach) & (candidates <= view[1] + reach)]
    if meaning is None or isinstance(meaning, str):
        edges = bin_edges(np.concatenate([data, seen]), NUM_BINS).tolist()
    else:
        edges = np.arange(-0.5, len(meaning)).tolist()
    axes.hist(data, edges, weights=_shares(data), color=DATA, alpha=0.35, label="data")
    if len(seen):
        axes.hist(seen, edges, weights=_shares(seen), histtype="step", color=MODEL, linewidth=1.6, label="samples")
    out = 1 - len(seen) / max(1, len(samples))
    note = f" ({out:.1%} out of view)" if len(seen) < len(samples) else ""
    short = (name if len(name) <= 26 else f"{name[:25]}…") + note
    style_axes(axes, title="", x="", y="", small=True)
    axes.set_title(short, loc="left", fontsize=9.5, color=INK, parse_math=False)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _name_values(axes, meaning)


def _name_values(axes: Axes, meaning: Meaning) -> None:
    """Classes and dates at the ticks, in the words of the data."""
    if isinstance(meaning, str):
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: date_in_words(seconds, meaning.split(" ")[0])))
    elif meaning is not None:
        every = -(-len(meaning) // _MOST_CLASSES)
        shown = [verbatim(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…") for name in meaning[::every]]
        axes.set_xticks(np.arange(0, len(meaning), every), shown, fontsize=7.5)


def _shares(values: np.ndarray) -> np.ndarray:
    return np.full(len(values), 1 / max(1, len(values)))


def _caption(figure: Figure, first: Axes, shown: int, total: int) -> None:
    which = f"the first {shown} of {total} columns" if shown < total else "each column"
    figure.suptitle(
        f"Data and samples: {which}, in its own unit",
        x=0.01,
        ha="left",
        fontsize=11,
        color=INK,
        fontweight="bold",
    )
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9.5)
