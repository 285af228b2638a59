"""The distribution of log p(x) over the data: which rows the model finds unlikely."""

import numpy as np
from matplotlib.figure import Figure

from lowerbound.plots.histograms import bin_edges, finite
from lowerbound.plots.style import DATA, INK, MODEL, new_figure, style_axes

__all__ = ["evidence_histogram"]

NUM_BINS = 50


def evidence_histogram(log_evidence: np.ndarray) -> Figure:
    """A histogram of log p(x) over data, with its mean; rows for which it is not finite are not drawn.

    Arguments:
        log_evidence: (N,) nats.

    Raises:
        ValueError: log_evidence is empty or has more than one axis.
    """
    if log_evidence.ndim != 1 or len(log_evidence) == 0:
        raise ValueError(f"log_evidence has shape {log_evidence.shape}; expected one value per row of data (N,).")
    figure = new_figure(9.0, 3.4)
    axes = figure.subplots()
    mean = float(log_evidence.astype(np.float64).mean())
    shown = finite(log_evidence)
    axes.hist(shown, bin_edges(shown, NUM_BINS).tolist(), color=MODEL)
    axes.axvline(mean, color=DATA, linewidth=1.6, label=f"mean {mean:,.2f} nats".replace("-", "−"))
    style_axes(axes, title="Log-likelihood of each row", x="log p(x) (nats)", y="rows")
    axes.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=INK)
    return figure
