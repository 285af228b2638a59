"""From a fitted model to the contents of its report: some draws and some encoded test rows.

Every draw comes from a fixed seed, so that the same model gives the same page.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.data.covariates import words_of
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.schema import Schema
from lowerbound.evaluate import PosteriorMean, PredictiveChecks, nearest_tokens, posterior_mean
from lowerbound.fitted import Fitted
from lowerbound.fitting.defaults import facts_of
from lowerbound.hooks import Embeds, FindsStates
from lowerbound.inference import InferenceWarning
from lowerbound.model import LatentVariableModel
from lowerbound.nets.token_net import TokenNet
from lowerbound.plots.clips import filmstrips
from lowerbound.plots.molecules import molecule_svg
from lowerbound.priors import AfterTraining
from lowerbound.randomness import derive_seed, forked
from lowerbound.report.contents import ReportContents, ReportKind
from lowerbound.training.not_finite import require_finite_rows
from lowerbound.verbs.citing import cite
from lowerbound.verbs.cross_generating import pictures_in
from lowerbound.verbs.predictive import models_gaps

__all__ = ["collect"]

MOST_LATENTS, NUM_PAIRS, NUM_SAMPLES, NUM_TABLE_ROWS = 2000, 30, 60, 2000
MOST_FREQUENT, NUM_WORDS, NUM_SPECIAL = 480, 24, 2  # words are numbered by frequency after the end and the unknown
NUM_CHECKED_ROWS, NUM_REPLICATES, NUM_DRAWN = 500, 100, 8
_FEWEST_CHECKED, _MOST_CHECKED = 20, 2**26  # rows, of which so many numbers are made at most
_SYMBOLS = 8  # of a vocabulary, whose scores take as long as a number that is made at once

_CPU = torch.device("cpu")
_NO_PRIOR = "The codes of this model have no prior yet, so that there are no samples."
_SHOWN = 5  # tells the random numbers of a report from others


def collect(fitted: Fitted) -> ReportContents:
    """Gather what the report of a fitted model shows.

    Raises:
        DataError: its data are gone or have changed.
    """
    model, dataset, transform = fitted.model, fitted.dataset, fitted.transform
    held_out = fitted.test_rows()
    rows, y = held_out.x[: max(MOST_LATENTS, NUM_TABLE_ROWS)], held_out.y
    x = fitted.events(rows)
    given = None if held_out.covariates is None else held_out.covariates[: len(x)]
    context = fitted.context(None if y is None else y[: len(x)], dataset.name, given)
    kind = _kind(fitted.schema)
    some = x[:MOST_LATENTS]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InferenceWarning)
        found = posterior_mean(model, some, None if context is None else context[: len(some)], seed=fitted.seed)
    require_finite_rows(found.values, "q(z | x)")
    with forked(_CPU, derive_seed(fitted.seed, _SHOWN)), torch.inference_mode():
        shown = _shown(fitted, kind, rows, x, context)
        drawn = pictures_in(fitted, model.sample_mean(NUM_SAMPLES)) if _has_pictures(fitted) else {}
    latents, explained = _project(found.values)
    evaluation = _plain(fitted.scores)
    kl = (evaluation or {}).get("kl_per_dimension")
    binarization = getattr(transform, "binarization", "none")
    return ReportContents(
        title=f"{fitted.name if fitted.plan is None else fitted.plan.recipe} on {dataset.name}",
        kind=kind,
        command=fitted.config.get("command"),
        notes=(*fitted.notes, *_chosen(fitted), *(() if _can_sample(model) else (_NO_PRIOR,))),
        configuration={**_origin(fitted), **({} if fitted.plan is None else fitted.plan.in_use())},
        versions=fitted.config.get("versions", {}),
        data=_describe(dataset),
        metrics=fitted.records,
        evaluation=evaluation,
        binarization=None if binarization == "none" else binarization,
        block_samples=drawn,
        latents=latents if latents.shape[1] else None,  # a model may have none
        latents_are=_latents_are(model, found),
        latent_labels=None if y is None else y[: len(latents)],
        label_names=fitted.schema.classes,
        explained=explained,
        kl_per_dimension=None if kl is None else np.asarray(kl, dtype=np.float64),
        feature_names=fitted.schema.column_names,
        meanings=_meanings(fitted.schema),
        originals=shown.get("originals"),
        reconstructions=shown.get("reconstructions"),
        samples=shown.get("samples"),
        shows_means=facts_of(fitted.model.likelihood).has_mean,
        problems=_problems(caught),
        predictive=_checks(fitted, len(rows)) if _can_sample(model) else None,
        citations=cite(fitted),
        **(_shown_texts(fitted, x, context, pairs=latents.shape[1] > 0) if kind == "text" else {}),
        **_shown_states(fitted, rows, x),
    )


def _meanings(schema: Schema) -> tuple[tuple[str, ...] | str | None, ...] | None:
    """What the numbers of each column are; None for other data than tables."""
    if schema.columns is None:
        return None
    return tuple(c.categories or ((c.format or "%Y-%m-%d") if c.kind == "date" else None) for c in schema.columns)


def _latents_are(model: LatentVariableModel, found: PosteriorMean) -> str:
    if isinstance(model.posterior, Embeds):
        return "The vectors of the codes"
    return f"The mean of {found.num_draws:,} draws of q(z | x)" if found.num_draws else "The mean of q(z | x)"


def _has_pictures(fitted: Fitted) -> bool:
    """Whether some blocks of columns are pictures."""
    return fitted.plan is not None and fitted.plan.model.get("pictures") is not None


def _can_sample(model: LatentVariableModel) -> bool:
    """Whether the prior is one to draw from, which that of codes is not before its second stage."""
    return not isinstance(model.prior, AfterTraining) or model.prior.can_sample


def _problems(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Sentences on what is not to be trusted; other warnings are given on."""
    for one in caught:
        if not issubclass(one.category, InferenceWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return tuple(dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, InferenceWarning)))


def _checks(fitted: Fitted, num_rows: int) -> PredictiveChecks | None:
    """Predictive checks; of one row there are none, and of a model of gaps."""
    if num_rows < 2 or models_gaps(fitted):
        return None
    return fitted.predictive_checks(limit=_num_checked(fitted.schema), num_replicates=NUM_REPLICATES)


def _num_checked(schema: Schema) -> int:
    """How many rows are checked: fewer where rows are large, or texts of a large vocabulary."""
    each = 1 if schema.text is None else max(1, len(schema.text.symbols) // _SYMBOLS)
    size = NUM_REPLICATES * math.prod(schema.event_shape) * each
    return max(_FEWEST_CHECKED, min(NUM_CHECKED_ROWS, _MOST_CHECKED // size))


def _chosen(fitted: Fitted) -> tuple[str, ...]:
    """What the start of the recipe chose, in a sentence."""
    notes = [record.get("note") for record in fitted.records]
    return tuple(note for note in notes if note)


def _project(latents: Tensor) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Latents of at most two dimensions, by PCA if there are more, and then the fraction of the variance along each."""
    z = latents.double().numpy()
    if z.shape[1] <= 2 or len(z) < 3:
        return z[:, :2], None
    from sklearn.decomposition import PCA

    if not bool((z != z[:1]).any()):  # latents that do not depend on the row have no directions
        return z[:, :2], None
    pca = PCA(n_components=2, svd_solver="full")
    projected = pca.fit_transform(z)
    return projected, tuple(float(v) for v in pca.explained_variance_ratio_)


def _kind(schema: Schema) -> ReportKind:
    """Whether rows are images, texts, series, or rows of a table."""
    if schema.is_written:
        return "text"
    if schema.kind == "array" and len(schema.event_shape) == 2:
        return "series"
    return "image" if len(schema.event_shape) > 1 else "table"


def _shown(
    fitted: Fitted, kind: ReportKind, rows: np.ndarray, x: Tensor, context: Tensor | None
) -> dict[str, np.ndarray]:
    """Originals, reconstructions and samples; those of texts are strings (`_shown_texts`)."""
    if kind == "text":
        return {}
    if kind == "series":
        return _shown_series(fitted, rows, x, context)
    return _shown_images(fitted.model, x, context) if kind == "image" else _shown_rows(fitted, rows, context)


def _shown_images(model: LatentVariableModel, x: Tensor, context: Tensor | None) -> dict[str, np.ndarray]:
    """Images as the model sees them, and their reconstructions and samples, which are E[x | z] or stand for it."""
    originals, given = x[:NUM_PAIRS], None if context is None else context[:NUM_PAIRS]
    pairs = {"originals": _pictures(originals), "reconstructions": _pictures(model.reconstruct(originals, given))}
    if not _can_sample(model):
        return pairs
    samples = model.sample_mean(NUM_SAMPLES) if context is None else model.sample_mean(1, _every_class(context))[0]
    return {**pairs, "samples": _pictures(samples)}


def _pictures(x: Tensor) -> np.ndarray:
    """Images as they are, and clips as the strips of their frames."""
    return filmstrips(x.numpy()) if x.ndim == 5 else x.numpy()


def _shown_series(fitted: Fitted, rows: np.ndarray, x: Tensor, context: Tensor | None) -> dict[str, np.ndarray]:
    """Series (n, T, D), their reconstructions, and draws x ~ p(x), in the units of the data."""
    model, given = fitted.model, None if context is None else context[:NUM_PAIRS]
    again = fitted.stored(model.reconstruct(x[:NUM_PAIRS], given))
    pairs = {"originals": np.asarray(rows[:NUM_PAIRS], dtype=np.float64), "reconstructions": again}
    if not _can_sample(model):
        return pairs
    draws = model.sample(NUM_PAIRS) if context is None else model.sample(1, _every_class(context))[0]
    return {**pairs, "samples": fitted.stored(draws)}


def _shown_texts(fitted: Fitted, x: Tensor, context: Tensor | None, *, pairs: bool) -> dict[str, Any]:
    """Samples, and test texts with their reconstructions where there is a latent; given their covariates."""
    given = None if context is None else context[:NUM_PAIRS]
    with forked(_CPU, derive_seed(fitted.seed, _SHOWN)):
        again = fitted.model.reconstruct(x[:NUM_PAIRS], given) if pairs else x[:0]
        samples = fitted.model.sample(NUM_PAIRS) if given is None else fitted.model.draw(len(given), given)[0]
    seen = x[:NUM_PAIRS] if pairs else x[:0]
    texts = [texts_in(fitted.render(part)) if len(part) else [] for part in (seen, again, samples)]
    found = {"text_pairs": tuple(zip(texts[0], texts[1], strict=True)), "text_samples": tuple(texts[2])}
    if fitted.schema.molecules is None:
        return {**found, "nearest_words": _nearest_words(fitted)}
    drawn = [one for pair in found["text_pairs"][:NUM_DRAWN] for one in pair]
    return {
        **found,
        "drawn_pairs": molecule_svg(drawn, per_row=4) if drawn else None,
        "drawn_samples": molecule_svg(texts[2][: 2 * NUM_DRAWN], per_row=4),
    }


def _nearest_words(fitted: Fitted) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Some of the most frequent words, and those whose embeddings are nearest; none where tokens are no words."""
    text, net = fitted.schema.text, next((m for m in fitted.model.modules() if isinstance(m, TokenNet)), None)
    if text is None or net is None or text.tokens != "word":
        return ()
    most = min(MOST_FREQUENT, len(text.symbols))
    some = range(NUM_SPECIAL, most, max(1, (most - NUM_SPECIAL) // NUM_WORDS))[:NUM_WORDS]
    found = nearest_tokens(net.embedding, some, first=NUM_SPECIAL)
    return tuple(
        (text.symbols[k], tuple(text.symbols[j] for j in nearest)) for k, nearest in zip(some, found, strict=True)
    )


def _shown_states(fitted: Fitted, rows: np.ndarray, x: Tensor) -> dict[str, Any]:
    """A few test series and the states behind them; nothing for a model without a chain of states."""
    q = fitted.model.posterior
    if not isinstance(q, FindsStates):
        return {}
    some = np.asarray(rows[:NUM_PAIRS], dtype=np.float64)
    series = some if some.ndim > 2 else some[:, :, None]
    return {"series": series, "states": q.most_probable_states(x[:NUM_PAIRS]).numpy()}


def _every_class(context: Tensor) -> Tensor:
    """The classes in turn, one-hot, for as many samples as are shown."""
    count = context.shape[-1]
    return torch.eye(count)[torch.arange(NUM_SAMPLES) % count]


def _shown_rows(fitted: Fitted, rows: np.ndarray, context: Tensor | None) -> dict[str, np.ndarray]:
    """Rows of the table and as many samples, in the units of the table."""
    model, originals = fitted.model, {"originals": np.asarray(rows[:NUM_TABLE_ROWS])}
    if not _can_sample(model):
        return originals
    draws = model.sample(NUM_TABLE_ROWS) if context is None else model.sample(1, context[:NUM_TABLE_ROWS])[0]
    return {**originals, "samples": fitted.stored(draws)}


def _plain(evaluation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The scores, with each baseline as one number."""
    if evaluation is None:
        return None
    return dict(evaluation) | {
        "baselines": {name: b["log_likelihood"] for name, b in evaluation.get("baselines", {}).items()}
    }


def _origin(fitted: Fitted) -> dict[str, object]:
    """Which weights they are, and from which run they came, where that has to be said."""
    said = {"weights": fitted.weights, "came_from": fitted.config.get("came_from")}
    return {name: value for name, value in said.items() if value is not None}


def _describe(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "source": dataset.source,
        "training rows": f"{dataset.num_train:,}",
        "test rows": f"{dataset.num_test:,}",
        "shape of a row": " × ".join(str(n) for n in dataset.event_shape),
        "kind": dataset.schema.kind,
        **_columns(dataset),
        **({"covariates": ", ".join(map(words_of, covariates))} if (covariates := dataset.schema.covariates) else {}),
        "checksum (sha256)": dataset.checksum,
    }


def _columns(dataset: Dataset) -> dict[str, str]:
    """The names of columns by kind, those with gaps, and those left out with the reason, as the fit prints them."""
    lines = (line for line in dataset.kind_of_data.describe(dataset.schema) if line.startswith("  "))
    parts = (line.strip().partition(": ") for line in lines)
    return {f"columns, {said}": names for said, _, names in parts if names}
