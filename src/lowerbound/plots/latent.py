"""The latents of data, coloured by their labels.

Up to twenty whole-number labels are classes, each with its colour, marker and name; other labels are
measurements and get a continuous scale. Latents of one dimension are drawn as histograms.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from lowerbound.plots.histograms import bin_edges, finite
from lowerbound.plots.style import INK, MODEL, class_style, new_figure, style_axes

__all__ = ["latent_map"]

MOST_CLASSES = 20

_ORDINALS = ("First", "Second")


def latent_map(
    latents: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    label_names: Sequence[str] | None = None,
    explained: Sequence[float] | None = None,
    title: str = "Latent space",
) -> Figure:
    """A scatter of two-dimensional latents, or histograms of one-dimensional ones.

    Arguments:
        latents: (N, 2) or (N, 1).
        labels: (N,) classes or measurements, or None.
        label_names: the name of each class, in the order of the classes 0, 1, ...
        explained: where the latents are principal components, the fraction of the variance of each.
        title: what is seen.

    Raises:
        ValueError: latents of another shape, or labels of another length.
    """
    if latents.ndim != 2 or latents.shape[1] not in (1, 2) or len(latents) == 0:
        raise ValueError(
            f"latents have shape {latents.shape}; expected (N, 2) or (N, 1): project them first, for "
            "example with scikit-learn's PCA."
        )
    if labels is not None and labels.shape != (len(latents),):
        raise ValueError(f"labels have shape {labels.shape}; expected one label for each of {len(latents)} latents.")
    figure = new_figure(7.6, 5.8 if latents.shape[1] == 2 else 4.0)
    axes = figure.subplots()
    draw = _scatter if latents.shape[1] == 2 else _histograms
    draw(figure, axes, latents, labels, label_names)
    x, y = (_axis_name(i, explained) for i in range(2))
    style_axes(axes, title=title, x=x, y=y if latents.shape[1] == 2 else "rows")
    return figure


def _axis_name(i: int, explained: Sequence[float] | None) -> str:
    if explained is None:
        return f"latent {i}"
    share = f" ({explained[i]:.0%} of the variance)" if i < len(explained) else ""
    return f"{_ORDINALS[i]} principal component{share}"


def _classes(labels: np.ndarray) -> np.ndarray | None:
    """The classes in use, or None where labels are measurements."""
    values = np.unique(labels)
    whole = bool(np.all(values == np.round(values)))
    return values.astype(np.int64) if whole and len(values) <= MOST_CLASSES else None


def _name(label: int, label_names: Sequence[str] | None) -> str:
    known = label_names is not None and 0 <= label < len(label_names)
    return str(label_names[label]) if known and label_names is not None else str(label)


def _scatter(
    figure: Figure,
    axes: Axes,
    latents: np.ndarray,
    labels: np.ndarray | None,
    label_names: Sequence[str] | None,
) -> None:
    classes = None if labels is None else _classes(labels)
    if labels is None:
        axes.scatter(*latents.T, s=14, color=MODEL, alpha=0.6, linewidths=0)
    elif classes is None:
        points = axes.scatter(*latents.T, s=14, c=labels, cmap="viridis", alpha=0.8, linewidths=0)
        figure.colorbar(points, ax=axes, label="label")
    else:
        _scatter_classes(axes, latents, labels, classes, label_names)


def _scatter_classes(
    axes: Axes,
    latents: np.ndarray,
    labels: np.ndarray,
    classes: np.ndarray,
    label_names: Sequence[str] | None,
) -> None:
    handles: dict[str, Artist] = {}
    for i, label in enumerate(classes):
        mine, name = latents[labels == label], _name(int(label), label_names)
        style = class_style(i)
        handles[name] = axes.scatter(*mine.T, s=15, color=style.colour, marker=style.marker, alpha=0.65, linewidths=0)
        x, y = np.median(mine, axis=0)
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            color=INK,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            parse_math=False,
        )
    _legend(axes, handles)


def _histograms(
    figure: Figure,
    axes: Axes,
    latents: np.ndarray,
    labels: np.ndarray | None,
    label_names: Sequence[str] | None,
) -> None:
    z = latents[:, 0]
    edges = bin_edges(finite(z), 40)
    classes = None if labels is None else _classes(labels)
    if labels is None or classes is None:
        axes.hist(z, bins=edges.tolist(), color=MODEL)
        return
    handles: dict[str, Artist] = {}
    bottom = np.zeros(len(edges) - 1)
    for i, label in enumerate(classes):
        colour, _, hatch, _ = class_style(i)
        mine = z[labels == label]
        counts, _, _ = axes.hist(mine, edges.tolist(), bottom=bottom, color=colour, hatch=hatch, edgecolor="white")
        handles[_name(int(label), label_names)] = Patch(facecolor=colour, hatch=hatch, edgecolor="white")
        bottom = bottom + counts
    _legend(axes, handles)


def _legend(axes: Axes, handles: dict[str, Artist]) -> None:
    """Names beside the panel, without markup: a class may be called "$5" or "_"."""
    legend = axes.legend(
        list(handles.values()),
        list(handles),
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        markerscale=1.6,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
