"""How much of the rate each latent dimension carries: KL(q(z_d | x) ‖ p(z_d)), averaged over data.

A dimension whose divergence is near zero follows the prior and says nothing about x.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lowerbound.plots.style import INK, MODEL, MUTED, new_figure, style_axes

__all__ = ["kl_per_dimension"]

UNUSED = "#b9c0c8"


def kl_per_dimension(kl: np.ndarray, threshold: float | int = 0.01) -> Figure:
    """Bars in decreasing order of divergence; those above the threshold are marked as active, the rest are shaded.

    Arguments:
        kl: (L,) nats per datum.
        threshold: nats above which a dimension counts as active.

    Raises:
        ValueError: kl is empty or has more than one axis.
    """
    if kl.ndim != 1 or len(kl) == 0:
        raise ValueError(f"kl has shape {kl.shape}; expected one divergence per dimension (L,): average over data.")
    order = np.argsort(-kl, kind="stable")
    active = kl[order] > threshold
    figure = new_figure(9.0, 3.4)
    axes = figure.subplots()
    axes.bar(np.arange(len(kl)), kl[order], color=[MODEL if a else UNUSED for a in active], width=0.8)
    if not active.all():
        axes.axvspan(active.sum() - 0.5, len(kl) - 0.5, color=UNUSED, alpha=0.25, linewidth=0)
    axes.set_xlim(-0.6, len(kl) - 0.4)
    axes.axhline(threshold, color=MUTED, linewidth=1, linestyle="--")
    _name_bars(axes, order)
    noun = "dimension" if len(kl) == 1 else "dimensions"
    title = f"{active.sum()} of {len(kl)} latent {noun} above {threshold:g} nats"
    style_axes(axes, title=title, x="latent dimension, sorted", y="KL from the prior (nats)")
    axes.grid(False, axis="x")
    handles = [Patch(color=MODEL, label="active"), Patch(color=UNUSED, label="unused")]
    axes.legend(handles=handles, loc="upper right", frameon=False, fontsize=9.5, labelcolor=INK)
    return figure


def _name_bars(axes: Axes, order: np.ndarray) -> None:
    """Label each bar with the number of its dimension, if the numbers fit."""
    every = -(-len(order) // 32)
    axes.set_xticks(np.arange(0, len(order), every), [str(i) for i in order[::every]])
