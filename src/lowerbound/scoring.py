"""How good a fitted model is on held-out rows, beside what a model without latents reaches on the same rows.

    ELBO = −distortion − rate  ≤  L_S = E log (1/S) Σ_s p(x, z_s) / q(z_s | x)  ≤  log p(x)        (nats per datum)

L_S with S = 1000 is the number to compare models by (Burda, Grosse and Salakhutdinov 2016,
arXiv:1509.00519, section 5). What x is decides what the numbers mean:

* 0 and 1 under a Bernoulli likelihood: probabilities, and bits per dimension are given as well;
* grey values under a Bernoulli likelihood: expected log-probabilities over re-binarizations, hence no bits;
* real values: densities of the transformed (standardised) columns, comparable only between models of the same
  columns on the same scale, hence no bits.

The baselines are fitted to the same training rows and score the same test rows: independent Bernoulli pixels and a
mixture of Bernoulli variables, or a Gaussian and a mixture of Gaussians for tables under a likelihood with a density.
Other likelihoods have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowerbound.data import Dataset, Pixels
from lowerbound.evaluate import (
    bernoulli_mixture,
    clustering_accuracy,
    gaussian_mixture,
    independent_bernoulli,
    log_evidence,
    normalized_mutual_information,
    summary,
)
from lowerbound.labelled import LabelledModel
from lowerbound.model import LatentVariableModel
from lowerbound.models.deep_embedding import responsibilities
from lowerbound.priors import is_mixture, unused_components
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.weights import latents_of

__all__ = ["assignments", "rows_for_baselines", "score"]

_MOST_BASELINE_ROWS = 20_000
_SUMMARY_SAMPLES = 64
_MOST_CODES = 5_000
_WITH_DENSITY = ("normal", "laplace", "student-t", "studentt")


def score(
    model: LatentVariableModel,
    x_test: Float[Tensor, "batch *event"],
    *,
    x_train: Float[Tensor, "row *event"] | None,
    likelihood: str,
    context: Context | None = None,
    labels: np.ndarray | None = None,
    num_samples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a model on held-out rows, as plain numbers that JSON can hold (null for what is not defined).

    Arguments:
        model: p and q, on the device of `x_test`.
        x_test: held-out rows as the likelihood scores them.
        x_train: what `rows_for_baselines` gives, on the same device; None leaves the baselines out.
        likelihood: its name, which decides what the baselines are and whether there are bits per dimension.
        context: of the model, one row for each of x_test.
        labels: classes (N,) of x_test, for a model that assigns rows to classes or clusters; None for others.
        num_samples: S of L_S.
        seed: of the samples and the baselines.
        progress: called with the rows done and their total.

    Returns:
        Means over the rows in nats per datum: `elbo`, `log_evidence` (L_S), `rate` and `distortion`, the first two with
        standard errors from the spread over the rows; `bits_per_dim` of L_S and `elbo_bits_per_dim`; the counts
        `num_samples`, `num_data`, `num_dimensions` (of x), `latent_dim` and `active_units`; `kl_per_dimension`; for a
        mixture prior `components`: their number, how many are `unused`, and the `effective` number of those in use;
        for a `vade`, `clustering_accuracy` (of the best matching of clusters to labels) and
        `normalized_mutual_information`; for a model that classifies, the `accuracy` of its most probable label, with
        its `accuracy_standard_error`; `effective_sample_size` (median) and `pareto_k_above_07` (fraction); and
        `baselines`, each with its `log_likelihood` and the `margin` by which L_S is above it on the same rows.

    Raises:
        ValueError: no rows or no samples.
    """
    model.eval()
    evidence = log_evidence(model, x_test, num_samples=num_samples, context=context, seed=seed, progress=progress)
    parts = summary(model, x_test, num_samples=_SUMMARY_SAMPLES, context=context, seed=seed)
    discrete = likelihood == "bernoulli" and bool(((x_test == 0) | (x_test == 1)).all())
    baselines = {} if x_train is None else _baselines(x_train, x_test, likelihood, seed)
    kl = parts.rate_per_dimension
    scores = {
        "elbo": parts.elbo,
        "elbo_standard_error": parts.elbo_standard_error,
        "log_evidence": evidence.mean,
        "log_evidence_standard_error": evidence.standard_error_of_mean,
        "num_samples": num_samples,
        "num_data": x_test.shape[0],
        "num_dimensions": evidence.num_dimensions,
        "bits_per_dim": evidence.bits_per_dim if discrete else None,
        "elbo_bits_per_dim": parts.bits_per_dim if discrete else None,
        "effective_sample_size": evidence.effective_sample_size.median().item(),
        "pareto_k_above_07": evidence.unreliable_fraction,
        "rate": parts.rate,
        "distortion": parts.distortion,
        "active_units": parts.active_units,
        "latent_dim": parts.activity.shape[0],
        "kl_per_dimension": None if kl is None else kl.tolist(),
        **_accuracy(model, x_test, labels),
        **_clusters(model, x_test, labels, seed),
        "components": _components(model, x_test, seed) if context is None else None,
        "baselines": {name: _against(value, evidence.log_evidence) for name, value in baselines.items()},
    }
    return {name: _defined(value) for name, value in scores.items()}


def rows_for_baselines(dataset: Dataset, transform: nn.Module) -> Tensor:
    """Training rows on the scale of the model, at most 20,000, evenly spaced.

    Where the model draws 0 and 1 from grey values these are the grey values, which baselines read as probabilities.
    """
    rows = np.arange(len(dataset.x_train)) if dataset.train_rows is None else dataset.train_rows
    chosen = rows[:: math.ceil(len(rows) / _MOST_BASELINE_ROWS)]
    if isinstance(transform, Pixels) and transform.binarization == "dynamic":
        transform = Pixels(scale=transform.scale, binarization="none")
    return transform(torch.as_tensor(dataset.x_train[chosen])).float()


@torch.no_grad()
def assignments(model: LatentVariableModel, x: Float[Tensor, "batch *event"], *, seed: int) -> Int[Tensor, "batch"]:
    """The most probable class of each row under a model that classifies, or its cluster under a `vade`; on the CPU.

    Arguments:
        model: a `LabelledModel` or a `vade`.
        x: rows as the likelihood scores them.
        seed: of the draws behind a cluster's probability.

    Raises:
        ValueError: a model that does neither.
    """
    if isinstance(model, LabelledModel):
        return torch.cat([model.classify(rows).argmax(-1).cpu() for rows in x.split(_MOST_CODES)])
    return responsibilities(model, x, seed=seed).argmax(-1).cpu()


def _accuracy(model: LatentVariableModel, x: Tensor, labels: np.ndarray | None) -> dict[str, float]:
    """How often the most probable label is the right one; nothing for models and rows without labels."""
    if not isinstance(model, LabelledModel) or labels is None:
        return {}
    right = (assignments(model, x, seed=0) == torch.as_tensor(labels)).double()
    return {"accuracy": right.mean().item(), "accuracy_standard_error": right.std().item() / math.sqrt(len(right))}


def _clusters(model: LatentVariableModel, x: Tensor, labels: np.ndarray | None, seed: int) -> dict[str, float]:
    """How well clusters agree with labels that were never trained on; nothing for other models, or without labels."""
    if isinstance(model, LabelledModel) or labels is None:
        return {}
    found, known = assignments(model, x, seed=seed), torch.as_tensor(labels)
    accuracy, information = clustering_accuracy(found, known), normalized_mutual_information(found, known)
    return {"clustering_accuracy": accuracy.value, "normalized_mutual_information": information.value}


@torch.no_grad()
def _components(model: LatentVariableModel, x: Tensor, seed: int) -> dict[str, float] | None:
    """How many components of a mixture prior no code of these rows uses; None for other priors."""
    with forked(x.device, seed):
        q = model.infer(x[:_MOST_CODES])
        codes = latents_of(q, q.sample())
    if not is_mixture(model.prior(None)) or isinstance(codes, tuple):
        return None
    usage = unused_components(model.prior, codes)
    return {"number": len(usage.usage), "unused": len(usage.unused), "effective": usage.effective}


def _baselines(x_train: Tensor, x_test: Tensor, likelihood: str, seed: int) -> dict[str, Tensor]:
    """Log-likelihoods of the test rows (N,), nats."""
    if likelihood == "bernoulli":
        return {
            "independent Bernoulli": independent_bernoulli(x_train, x_test),
            "Bernoulli mixture": bernoulli_mixture(x_train, x_test, seed=seed),
        }
    if likelihood in _WITH_DENSITY and x_test.ndim == 2:
        return {
            "Gaussian": gaussian_mixture(x_train, x_test, components=(1,), seed=seed),
            "Gaussian mixture": gaussian_mixture(x_train, x_test, seed=seed),
        }
    return {}


def _against(baseline: Tensor, model: Tensor) -> dict[str, float | None]:
    """A baseline, and how far the model is above it row by row."""
    value, error = _mean(baseline)
    margin, margin_error = _mean(model - baseline)
    return {
        "log_likelihood": value,
        "standard_error": error,
        "margin": margin,
        "margin_standard_error": margin_error,
    }


def _mean(values: Tensor) -> tuple[float, float | None]:
    """The mean over rows and its standard error."""
    values = values.double()
    return values.mean().item(), _defined(values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan)


def _defined(value: Any) -> Any:
    """None for what is not a number, which JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
