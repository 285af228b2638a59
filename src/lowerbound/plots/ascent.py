"""The bound of one datum as a function of its variational parameters, and the way of an optimisation over it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from lowerbound.plots.style import DATA, INK, class_style, new_figure, style_axes

__all__ = ["elbo_ascent"]

_LEVELS = (0.1, 0.3, 1, 3, 10, 30, 100, 300)


def elbo_ascent(
    first: np.ndarray,
    second: np.ndarray,
    elbo: np.ndarray,
    *,
    path: np.ndarray | None = None,
    points: Mapping[str, Sequence[float]] | None = None,
    names: tuple[str, str] = ("mean of q", "log standard deviation of q"),
) -> Figure:
    """Contours so many nats below the highest value, the path of an ascent, and points with a name.

    Arguments:
        first: (R,) values of the first parameter.
        second: (C,) of the second.
        elbo: (R, C) nats, see `inference.elbo_surface`.
        path: (K, 2) the two parameters at the start and after each step.
        points: the two parameters of named q, such as that of the encoder.
        names: of the parameters.

    Raises:
        ValueError: shapes that do not go together.
    """
    if elbo.shape != (len(first), len(second)) or (path is not None and (path.ndim != 2 or path.shape[1] != 2)):
        shown = None if path is None else path.shape
        raise ValueError(
            f"elbo_ascent got {len(first)} and {len(second)} values, elbo of shape {elbo.shape} and a path of shape "
            f"{shown}; expected elbo ({len(first)}, {len(second)}) and a path (steps, 2)."
        )
    figure = new_figure(6.4, 4.6)
    axes = figure.subplots()
    loss = elbo.max() - elbo.T
    shades = colormaps["Blues"](np.linspace(0.0, 0.6, len(_LEVELS) + 1))  # the top is white, and lines are seen on all
    axes.contourf(first, second, loss, levels=[0, *_LEVELS], colors=list(shades), extend="max")
    lines = axes.contour(first, second, loss, levels=_LEVELS, colors=INK, linewidths=0.5)
    axes.clabel(lines, fmt=lambda level: f"−{level:g}", fontsize=8)
    if path is not None:
        axes.plot(path[:, 0], path[:, 1], color=DATA, linewidth=1.4, marker=".", markersize=3, label="ascent")
    for i, (name, (x, y)) in enumerate((points or {}).items()):
        style = class_style(i + 3)  # those before are near the colours of the ascent and of the ground
        look = {"marker": style.marker, "color": style.colour, "markeredgecolor": INK, "markersize": 9}
        axes.plot(x, y, **look, linestyle="", label=name)
    style_axes(axes, title="ELBO of one datum, nats below its highest", x=names[0], y=names[1])
    if path is not None or points:
        axes.legend(loc="best", fontsize=9, labelcolor=INK)
    return figure
