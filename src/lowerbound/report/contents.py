"""Everything that a report shows, as plain values and arrays, and what it makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from lowerbound.evaluate import PredictiveChecks
from lowerbound.verbs.citing import Citations

__all__ = ["Illustration", "ReportContents", "ReportKind"]

ReportKind: TypeAlias = Literal["image", "table", "text", "series"]
"""What rows are to a reader."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Illustration:
    """A figure with its words.

    Attributes:
        heading: what it is.
        figure: the picture.
        alt: the picture in words, for readers who cannot see it.
        reading: how to read it: what good and bad results look like.
    """

    heading: str
    figure: Figure
    alt: str
    reading: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContents:
    """The contents of a page, for `render`; those that are None or empty are left out.

    Attributes:
        title: the heading of the page.
        kind: whether rows are images, texts, or rows of a table.
        command: the command line that made the run.
        notes: what is to be known of the contents, a sentence each.
        configuration: the settings; nested dictionaries are shown with dotted names.
        versions: of the libraries used.
        data: what is known of the data, by name.
        metrics: the records of training, as in a run's metrics (see `plots.training_curves`).
        evaluation: scores on test rows, with any of the keys elbo, log_evidence,
            log_evidence_standard_error, num_samples, bits_per_dim, rate, distortion, active_units,
            latent_dim, pareto_k_above_07 (a fraction of rows) and baselines (name to nats). All are nats per row unless
            stated otherwise.
        originals: test rows: images (n, H, W) or (n, C, H, W) as the model saw them, or a table
            (n, D) or series (n, T, D) in their own units.
        binarization: how the pixels of `originals` were made 0 or 1 ("dynamic", "threshold"), or None.
        reconstructions: what is shown of p(x | z) for the original images or series, of the same shape.
        samples: what is shown of p(x | z) of images at z ~ p(z), or samples x ~ p(x) of a table or of series in their
            own units.
        shows_means: whether E[x | z] is shown of images; if not, means along one draw.
        latents: the latents of test rows, (N, 2) or (N, 1).
        latents_are: what they are, as the subject of a sentence.
        latent_labels: (N,) classes or measurements.
        label_names: the names of the classes.
        explained: the fraction of the variance along each axis, where latents are principal components.
        kl_per_dimension: (L,) nats.
        feature_names: the names of a table's columns.
        meanings: what the numbers of its columns are: names of classes, the format of dates, or None.
        problems: sentences on what was inferred for this page and is not to be trusted.
        predictive: held-out rows against as many that the model makes.
        series: test series (n, T, D) with a path of states, in their own units, NaN where a step was not observed.
        states: the most probable path of each (n, T).
        text_samples: texts that the model draws.
        text_pairs: test texts as the model sees them, each with its reconstruction.
        nearest_words: words with those whose embeddings are nearest.
        drawn_pairs: a drawing (SVG) of such pairs of molecules, side by side.
        drawn_samples: a drawing of molecules that the model draws.
        block_samples: of each block that is a picture, those (n, H, W) that the model draws.
        citations: the works that it is made of.
    """

    title: str
    kind: ReportKind
    command: str | None = None
    notes: Sequence[str] = ()
    configuration: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    evaluation: Mapping[str, Any] | None = None
    originals: np.ndarray | None = None
    binarization: str | None = None
    reconstructions: np.ndarray | None = None
    samples: np.ndarray | None = None
    shows_means: bool = True
    latents: np.ndarray | None = None
    latents_are: str = "The mean of q(z | x)"
    latent_labels: np.ndarray | None = None
    label_names: tuple[str, ...] | None = None
    explained: tuple[float, ...] | None = None
    kl_per_dimension: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    meanings: tuple[tuple[str, ...] | str | None, ...] | None = None
    problems: tuple[str, ...] = ()
    predictive: PredictiveChecks | None = None
    series: np.ndarray | None = None
    states: np.ndarray | None = None
    text_samples: Sequence[str] = ()
    text_pairs: Sequence[tuple[str, str]] = ()
    nearest_words: Sequence[tuple[str, Sequence[str]]] = ()
    drawn_pairs: str | None = None
    drawn_samples: str | None = None
    block_samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    citations: Citations | None = None
