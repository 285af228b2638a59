"""Figures of results. The functions draw given values and compute nothing about a model.

Each function takes NumPy arrays (or the records of a run) and returns a `matplotlib.figure.Figure`
that is independent of pyplot's global state: save it with `figure.savefig`, or show it in a notebook as the last value
of a cell. It need not be closed.
"""

from lowerbound.plots.ascent import elbo_ascent
from lowerbound.plots.clips import clip_animation, filmstrips
from lowerbound.plots.comparison import comparison_curves, comparison_differences
from lowerbound.plots.diagnosis import diagnosis_bars, diagnosis_clouds, diagnosis_curves, diagnosis_histograms
from lowerbound.plots.divergence import kl_per_dimension
from lowerbound.plots.evidence import evidence_histogram
from lowerbound.plots.forecasts import series_with_forecasts
from lowerbound.plots.front import rate_distortion_front
from lowerbound.plots.gradients import gradient_noise
from lowerbound.plots.images import image_grid, originals_and_reconstructions
from lowerbound.plots.latent import latent_map
from lowerbound.plots.predictive import predictive_statistics
from lowerbound.plots.series import series_and_draws, series_and_reconstructions, series_with_states
from lowerbound.plots.tables import table_marginals
from lowerbound.plots.training import training_curves
from lowerbound.plots.walks import image_animation, walks_of_columns, walks_of_series

__all__ = [
    "clip_animation",
    "comparison_curves",
    "comparison_differences",
    "diagnosis_bars",
    "diagnosis_clouds",
    "diagnosis_curves",
    "diagnosis_histograms",
    "elbo_ascent",
    "evidence_histogram",
    "filmstrips",
    "gradient_noise",
    "image_animation",
    "image_grid",
    "kl_per_dimension",
    "latent_map",
    "originals_and_reconstructions",
    "predictive_statistics",
    "rate_distortion_front",
    "series_and_draws",
    "series_and_reconstructions",
    "series_with_forecasts",
    "series_with_states",
    "table_marginals",
    "training_curves",
    "walks_of_columns",
    "walks_of_series",
]
