"""Scores of a fitted model on test rows, with baselines without latents on the same rows.

    ELBO = −distortion − rate  ≤  L_S = E log (1/S) Σ_s p(x, z_s) / q(z_s | x)  ≤  log p(x)        (nats per datum)

L_S with S = 1000 is the number to compare models by (Burda, Grosse and Salakhutdinov 2016,
arXiv:1509.00519, section 5). Everything is in the units of the user's data: if columns were standardised for the model,
log p(X) = log p(x) − Σ_d log scale_d, and the sum is given as `log_scale`. The meaning of the numbers depends on x:

* discrete data (the likelihood's facts say so): probabilities, and bits per dimension are given as well;
* grey values under a Bernoulli likelihood: expected log-probabilities over re-binarizations, hence no bits;
* real values: densities, comparable between models of the same columns.

Every score has a baseline: independent elements of the likelihood's own family, fitted to the same training rows and
scored on the same test rows; and those that the likelihood names, such as a Gaussian mixture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowerbound.data import DataError, Dataset, Pixels
from lowerbound.data.classes import UNLABELLED
from lowerbound.evaluate import (
    Evidence,
    clustering_accuracy,
    code_usage,
    has_picture_codes,
    log_evidence,
    normalized_mutual_information,
    picture_codes,
    summary,
)
from lowerbound.evaluate.evidence import require_finite
from lowerbound.evaluate.missing import of_gaps
from lowerbound.fitted import Fitted
from lowerbound.fitting.defaults import facts_of
from lowerbound.hooks import AssignsClusters, Classifies, Embeds, HasTopics, NamesLatents
from lowerbound.labelled import LabelledModel
from lowerbound.likelihoods.tokens import num_tokens
from lowerbound.model import LatentVariableModel
from lowerbound.models.deep_embedding import responsibilities
from lowerbound.models.discrete_counterpart import discretised
from lowerbound.priors import is_mixture, unused_components
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.verbs.annealed_scores import NUM_CHAINS, annealed_scores
from lowerbound.verbs.effort import Samples, knows_log_p, rows_trained, samples_for, samples_of_summary
from lowerbound.verbs.integration_scores import integration_scores
from lowerbound.verbs.language_baseline import language_model_of
from lowerbound.verbs.score_parts import against, baselines_left_out, baselines_of, defined, is_discrete, mean_and_error
from lowerbound.weights import latents_of

__all__ = [
    "assignments",
    "class_probabilities",
    "device_for",
    "rows_for_baselines",
    "score",
    "score_fitted",
]

_MOST_BASELINE_ROWS, _MOST_EXPONENT = 20_000, 700.0
_FEWEST_BASELINE_ROWS, _MOST_BASELINE_NUMBERS = 1000, 10**8
_MOST_LATENTS = 5_000


def score_fitted(
    fitted: Fitted,
    data: Any = None,
    *,
    limit: int | None = None,
    num_samples: int | None = None,
    annealed: int | None = None,
    discretise: bool = False,
    language_model: bool = False,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a fitted model on the test rows of its own data, or on other data, as `score` does.

    A model of text has a further baseline, the language model of its net, if there is one (`language_baseline`). There
    are no baselines if the data of the fit are not known, or gone.

    Arguments:
        fitted: the model.
        data: other data (see `Fitted.rows`), of which the test rows are scored if it has a test part, else all rows;
            None takes its own.
        limit: score at most so many rows, the first.
        num_samples: S of L_S; None for 1000, or fewer where these would take long (`effort`); one where q(z | x) is
            p(z | x), or without latents; or the chains of `annealed`, 16.
        annealed: distributions of annealed importance sampling, by which log p(x) is bounded in place of L_S: for a
            posterior without a density, or one that is not trusted. The result is that of `annealed_scores`.
        discretise: whether a model of relaxed latents is scored as the discrete one (`models.discretised`).
        language_model: whether to fit the language model of the net of a model of text, if it was not fitted before;
            that takes about as long as the fit of the model.
        seed: of all draws; that of the fit if None.
        progress: called with the rows done and their total.

    Raises:
        ValueError: no rows, or data that do not fit the model.
    """
    seed = fitted.seed if seed is None else seed
    rows = fitted.test_rows() if data is None else fitted.rows(data)
    first = len(rows.x) - rows.num_test if rows.num_test else 0
    chosen = slice(first, None if limit is None else first + limit)
    x, y = rows.x[chosen], None if rows.y is None else rows.y[chosen]
    if annealed is not None and language_model:
        raise ValueError("evaluate got annealed and language_model; leave one of them out.")
    covariates = None if rows.covariates is None else rows.covariates[chosen]
    device, known = device_for(fitted), known_data(fitted)
    context, events = fitted.context(y, rows.name, covariates), fitted.events(x, seed)
    given: dict[str, Any] = {
        "x_train": None if known is None else rows_for_baselines(known, fitted.transform).to(device),
        "log_scale": fitted.log_scale_of(events).to(device),
        "context": None if context is None else context.to(device),
        "seed": seed,
        "progress": progress,
    }
    model = (discretised(fitted.model) if discretise else fitted.model).to(device)
    if annealed is not None:
        chains = NUM_CHAINS if num_samples is None else num_samples
        scores = annealed_scores(model, events.to(device), num_distributions=annealed, num_chains=chains, **given)
    else:
        alone = language_model_of(fitted, fit=language_model)
        scored = events.to(device)
        trained = rows_trained(fitted)
        samples = (
            Samples(num_samples)
            if num_samples is not None
            else samples_for(model, scored, given["context"], num_trained=trained)
        )
        others: dict[str, Evidence] = {}
        if alone is not None:
            others["language model"] = log_evidence(alone.model, events, num_samples=1, context=context)
        scores = score(
            model,
            scored,
            labels=y if fitted.assigns else None,
            others={name: found.log_evidence for name, found in others.items()},
            num_samples=samples.count,
            **given,
        )
        scores |= {} if samples.reason is None else {"fewer_samples": samples.reason}
    fitted.model.cpu()
    integration = integration_scores(fitted, events, context, y, covariates, seed)
    found = {**scores, **_topics(fitted), **_pictures(fitted, events), **integration}
    what = {**({"discretised": True} if discretise else {}), **({"of_gaps": True} if of_gaps(fitted.model) else {})}
    return {"data": rows.name, **what, **found}


def known_data(fitted: Fitted) -> Dataset | None:
    """The data of the fit; None if they are not known, gone or changed."""
    try:
        return fitted.dataset if fitted.has_data else None
    except DataError:
        return None


def _pictures(fitted: Fitted, events: Tensor) -> dict[str, Any]:
    """Bits per pixel, PSNR and MS-SSIM of a rate–distortion autoencoder; nothing for others."""
    if not has_picture_codes(fitted.model):
        return {}
    found = picture_codes(fitted.model, events, levels=fitted.schema.pixel_levels)
    return {"pictures": {name: defined(value) for name, value in dataclasses.asdict(found).items()}}


def _topics(fitted: Fitted) -> dict[str, Any]:
    """The words of topics and their coherence; nothing for a model without topics."""
    if not isinstance(getattr(fitted.model.likelihood, "net", None), HasTopics):
        return {}
    found = fitted.topics()
    topics = [{"words": list(topic.words), "coherence": topic.coherence} for topic in found]
    return {"topics": topics, "coherence": sum(topic.coherence for topic in found) / len(found)}


def device_for(fitted: Fitted) -> torch.device:
    """A CUDA device where there is one, unless the plan asked for the CPU."""
    asked = "auto" if fitted.plan is None else fitted.plan.device
    return torch.device("cuda" if torch.cuda.is_available() and asked != "cpu" else "cpu")


def score(
    model: LatentVariableModel,
    x_test: Float[Tensor, "batch *event"],
    *,
    x_train: Float[Tensor, "row *event"] | None = None,
    log_scale: Float[Tensor, "batch"] | float = 0.0,
    context: Context | None = None,
    labels: np.ndarray | None = None,
    others: Mapping[str, Tensor] | None = None,
    num_samples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a model on rows it was not trained on, as plain numbers that JSON can hold (null for what is not defined).

    Arguments:
        model: p and q, on the device of `x_test`.
        x_test: test rows as the likelihood scores them.
        x_train: the result of `rows_for_baselines`, on the same device; None omits the baselines.
        log_scale: log p(x) − log p of the data in the user's units, of each row or of all, which is subtracted from
            every number in nats.
        context: of the model, one row for each of x_test.
        labels: classes (N,) of x_test, for a model that assigns rows to classes or clusters; None for others.
        others: log p(x_test) under further baselines (N,), by name, on the scale of the model.
        num_samples: S of L_S.
        seed: of the samples and the baselines.
        progress: called with the rows done and their total.

    Returns:
        Means over the rows in nats per datum: `elbo`, `log_evidence` (L_S), `rate` and `distortion`, the first two with
        standard errors from the spread over the rows; `exact`, where q(z | x) is p(z | x) and L_S log p(x);
        `log_scale`; `bits_per_dim` of L_S and `elbo_bits_per_dim`; the counts `num_samples`, `num_data`,
        `num_dimensions` (of x), `latent_dim` and `active_units`; `kl_per_dimension`; `rate_of_parts`, the rate of each
        by name, for named latents; for a mixture prior `components`: their number, how many are `unused`, and the
        `effective` number of those in use; for quantised latents `codes`: their `number`, how many are `used` by these
        rows, and the `effective` number; for a model of clusters, `clustering_accuracy` (of the best matching of
        clusters to labels) and `normalized_mutual_information`; of text `num_tokens`, with the end of each text, and
        `perplexity`, which is exp(−L_S / tokens), in place of bits; for a model that classifies, the `accuracy` of its
        most probable label, with its `accuracy_standard_error`; `effective_sample_size` (median) and
        `pareto_k_above_07` (fraction); and `baselines`, each with its `log_likelihood` and the `margin` by which L_S is
        above it on the same rows; `baselines_left_out`, with the reasons, where there are any.

    Raises:
        ValueError: no rows or no samples; rows of which log p(x) is no finite number.
    """
    model.eval()
    evidence = log_evidence(model, x_test, num_samples=num_samples, context=context, seed=seed, progress=progress)
    require_finite(evidence.log_evidence)
    parts = summary(model, x_test, num_samples=samples_of_summary(num_samples), context=context, seed=seed)
    facts = facts_of(model.likelihood)
    discrete = is_discrete(facts, x_test)
    of_tokens = facts.domain in ("tokens", "bag")
    without_latents = {} if x_train is None else baselines_of(model.likelihood, x_train, x_test, seed)
    left_out = {} if x_train is None else baselines_left_out(model.likelihood, x_train)
    without_latents |= {name: value.to(x_test.device) for name, value in (others or {}).items()}
    kl = parts.rate_per_dimension
    scale = torch.as_tensor(log_scale, dtype=torch.float64, device=x_test.device)
    log_p, in_units = evidence.log_evidence.double() - scale, scale.mean().item()
    scores = {
        "elbo": parts.elbo - in_units,
        "elbo_standard_error": parts.elbo_standard_error,
        **dict(zip(("log_evidence", "log_evidence_standard_error"), mean_and_error(log_p), strict=True)),
        "log_scale": in_units,
        **({"exact": True} if knows_log_p(model) else {}),
        "num_samples": num_samples,
        "num_data": x_test.shape[0],
        "num_dimensions": evidence.num_dimensions,
        "bits_per_dim": evidence.bits_per_dim if discrete and not of_tokens else None,
        "elbo_bits_per_dim": parts.bits_per_dim if discrete and not of_tokens else None,
        **(_per_token(x_test, log_p, bag=facts.domain == "bag") if of_tokens else {}),
        "effective_sample_size": evidence.effective_sample_size.median().item(),
        "pareto_k_above_07": evidence.unreliable_fraction,
        "rate": parts.rate,
        "distortion": parts.distortion + in_units,
        "active_units": parts.active_units,
        "latent_dim": parts.activity.shape[0],
        "kl_per_dimension": None if kl is None else kl.tolist(),
        **_rates_of_parts(model, kl),
        **_accuracy(model, x_test, context, labels, seed),
        **_clusters(model, x_test, labels, seed),
        "components": _components(model, x_test, seed) if context is None else None,
        **_codes(model, x_test, context),
        "baselines": {name: against(value.double() - scale, log_p) for name, value in without_latents.items()},
        **({"baselines_left_out": left_out} if left_out else {}),
    }
    return {name: defined(value) for name, value in scores.items()}


def _rates_of_parts(model: LatentVariableModel, kl: Tensor | None) -> dict[str, dict[str, float]]:
    """The rate of each named latent; nothing where there is one latent, or no rate of each number of it."""
    parts = model.likelihood.latent_parts() if isinstance(model.likelihood, NamesLatents) else {}
    if not parts or kl is None:
        return {}
    rates = (part.sum().item() for part in kl.split(list(parts.values())))
    return {"rate_of_parts": dict(zip(parts, rates, strict=True))}


def _per_token(x: Tensor, log_p: Tensor, *, bag: bool) -> dict[str, Any]:
    """The number of tokens, with the end of each text unless they are in a bag, and exp(−log p / their number)."""
    count = max(1, int(x.double().sum() if bag else num_tokens(x).sum()))
    perplexity = math.exp(min(_MOST_EXPONENT, -log_p.sum().item() / count))
    return {"num_tokens": count, "perplexity": perplexity}


def rows_for_baselines(dataset: Dataset, transform: nn.Module) -> Tensor:
    """Training rows on the scale of the model, at most 20,000 and fewer of many columns, evenly spaced.

    If the model draws 0 and 1 from grey values, these are the grey values, which baselines treat as probabilities.
    """
    rows = np.arange(len(dataset.x_train)) if dataset.train_rows is None else dataset.train_rows
    most = max(_FEWEST_BASELINE_ROWS, _MOST_BASELINE_NUMBERS // math.prod(dataset.event_shape))
    most = min(most, _MOST_BASELINE_ROWS)
    chosen = rows[:: math.ceil(len(rows) / most)]
    if isinstance(transform, Pixels) and transform.binarization == "dynamic":
        transform = Pixels(scale=transform.scale, binarization="none")
    return transform(torch.as_tensor(np.ascontiguousarray(dataset.x_train[chosen]))).float()


@torch.no_grad()
def assignments(
    model: LatentVariableModel, x: Float[Tensor, "batch *event"], context: Context | None = None, *, seed: int
) -> Int[Tensor, "batch"]:
    """The most probable class of each row under a model that classifies, or its cluster; on the CPU.

    Arguments and errors: see `class_probabilities`.
    """
    return class_probabilities(model, x, context, seed=seed).argmax(-1)


@torch.no_grad()
def class_probabilities(
    model: LatentVariableModel, x: Float[Tensor, "batch *event"], context: Context | None = None, *, seed: int
) -> Float[Tensor, "batch class"]:
    """The probability of each class under a model that classifies, or of each cluster; on the CPU.

    Arguments:
        model: a `LabelledModel`, a `vade`, `hooks.Classifies`, or one whose posterior is `hooks.AssignsClusters`.
        x: rows as the likelihood scores them.
        context: of a model that classifies given one.
        seed: of the draws behind a probability.

    Raises:
        ValueError: a model that does neither.
    """
    if isinstance(model, LabelledModel):
        return torch.cat([model.classify(rows).cpu() for rows in x.split(_MOST_LATENTS)])
    if isinstance(model, Classifies):
        return model.class_probabilities(x, cast("Tensor | None", context), seed=seed).cpu()
    if isinstance(model.posterior, AssignsClusters):
        return torch.cat([model.posterior.cluster_probabilities(rows).cpu() for rows in x.split(_MOST_LATENTS)])
    return responsibilities(model, x, seed=seed).cpu()


def _accuracy(
    model: LatentVariableModel, x: Tensor, context: Context | None, labels: np.ndarray | None, seed: int
) -> dict[str, float | None]:
    """The accuracy of the most probable label over rows that have one; empty for models or rows without labels."""
    if not isinstance(model, LabelledModel | Classifies) or labels is None:
        return {}
    found, known = class_probabilities(model, x, context, seed=seed), torch.as_tensor(labels).long()
    told = known != UNLABELLED
    if isinstance(model, Classifies):  # a class of probability 0 in every row stands for no label
        told = told & (found.sum(0) > 0)[known.clamp_min(0)]
    if not bool(told.any()):
        return {}
    right = (found.argmax(-1) == known)[told].double()
    return {"accuracy": right.mean().item(), "accuracy_standard_error": mean_and_error(right)[1]}


def _clusters(model: LatentVariableModel, x: Tensor, labels: np.ndarray | None, seed: int) -> dict[str, float]:
    """The agreement of clusters with labels that training did not see; empty for other models, or without labels."""
    if isinstance(model, LabelledModel | Classifies) or labels is None:
        return {}
    found, known = assignments(model, x, seed=seed), torch.as_tensor(labels)
    accuracy, information = clustering_accuracy(found, known), normalized_mutual_information(found, known)
    return {"clustering_accuracy": accuracy.value, "normalized_mutual_information": information.value}


def _codes(model: LatentVariableModel, x: Tensor, context: Context | None) -> dict[str, Any]:
    """The number of codes, over all stages, how many of them these rows use, and how many there would be if all were
    used alike; nothing for latents that are no codes.
    """
    if not isinstance(model.posterior, Embeds):
        return {}
    usage = code_usage(model, x, context)
    number = usage.num_codes * len(usage.used)
    return {"codes": {"number": number, "used": int(usage.used.sum()), "effective": usage.effective.sum().item()}}


@torch.no_grad()
def _components(model: LatentVariableModel, x: Tensor, seed: int) -> dict[str, float] | None:
    """The number of components of a mixture prior that no latent of these rows uses; None for other priors."""
    with forked(x.device, seed):
        q = model.infer(x[:_MOST_LATENTS])
        latents = latents_of(q, q.sample())
    if not is_mixture(model.prior(None)) or isinstance(latents, tuple):
        return None
    usage = unused_components(model.prior, latents)
    return {"number": len(usage.usage), "unused": len(usage.unused), "effective": usage.effective}
