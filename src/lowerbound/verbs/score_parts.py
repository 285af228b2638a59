"""What all scores of a fitted model share: baselines on the same rows, means with errors, numbers that JSON holds."""

from __future__ import annotations

import math
from typing import Any, cast

from torch import Tensor, nn

from lowerbound.evaluate import baselines
from lowerbound.fitting.defaults import facts_of
from lowerbound.models.block_likelihood import BlockLikelihood
from lowerbound.models.directed import DirectedLikelihood
from lowerbound.models.sequence_steps import ChainRule, EachStep
from lowerbound.support import LikelihoodFacts, StatesFacts

__all__ = ["against", "baselines_left_out", "baselines_of", "defined", "is_discrete", "mean_and_error"]

_OF_VECTORS = ("gaussian", "gaussian_mixture")  # that take no images
_MOST_OF_GAUSSIAN, _MOST_OF_MIXTURE = 2 * 10**11, 10**10  # products of numbers in one pass: half a minute, a second
_SIZES = (1, 3, 10, 30)
_FEWEST_OF_SHRUNK = 4


def baselines_of(likelihood: Any, x_train: Tensor, x_test: Tensor, seed: int) -> dict[str, Tensor]:
    """Log-likelihoods of the test rows (N,), nats, by the name of the baseline in words."""
    if len(x_train) < 2:
        return {}
    found = {}
    if isinstance(likelihood, DirectedLikelihood):
        likelihood = likelihood.alone or likelihood
    element = likelihood.step if isinstance(likelihood, EachStep | ChainRule) else likelihood
    has_net = isinstance(getattr(element, "net", None), nn.Module)
    if has_net or isinstance(element, BlockLikelihood):  # whose output can be made a constant
        found["independent elements"] = baselines.independent_elements(likelihood, x_train, x_test, seed=seed)
    for name in facts_of(likelihood).baselines:
        if name in _OF_VECTORS and (x_test.ndim != 2 or bool(x_test.isnan().any())):
            continue  # these take complete vectors
        if name in _OF_VECTORS and _why_left_out(name, x_train) is not None:
            continue
        if name == "shrunk_gaussian" and (len(x_train) < _FEWEST_OF_SHRUNK or _has_gaps(x_train, x_test)):
            continue
        options: dict[str, Any] = {"components": _sizes(x_train)} if name == "gaussian_mixture" else {}
        if name == "shrunk_gaussian":
            options = {"num_levels": len(cast(StatesFacts, element).support.grid or ())}
        found[name.replace("_", " ")] = getattr(baselines, name)(x_train, x_test, seed=seed, **options)
    return found


def _has_gaps(*parts: Tensor) -> bool:
    return any(bool(x.isnan().any()) for x in parts)


def baselines_left_out(likelihood: Any, x_train: Tensor) -> dict[str, str]:
    """Why a baseline that the likelihood names was not fitted to these rows (N, *event), by its name in words."""
    if x_train.ndim != 2 or len(x_train) < 2:
        return {}
    names = [name for name in facts_of(likelihood).baselines if name in _OF_VECTORS]
    reasons = {name.replace("_", " "): _why_left_out(name, x_train) for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _why_left_out(name: str, x_train: Tensor) -> str | None:
    """Of a Gaussian, or a mixture of them, with full covariances."""
    rows, columns = x_train.shape
    if columns >= rows:
        return f"a full covariance needs more rows than columns, and there are {rows:,} rows of {columns:,} columns"
    if _one_pass(x_train) > _MOST_OF_GAUSSIAN or (name == "gaussian_mixture" and len(_sizes(x_train)) < 2):
        return f"full covariances of {columns:,} columns and {rows:,} rows take too long"
    return None


def _sizes(x_train: Tensor) -> list[int]:
    """The numbers of components that are tried: those of which one pass of EM is quick."""
    return [size for size in _SIZES if size * _one_pass(x_train) <= _MOST_OF_MIXTURE]


def _one_pass(x_train: Tensor) -> int:
    rows, columns = x_train.shape
    return columns**2 * (rows + columns)


def is_discrete(facts: LikelihoodFacts, x: Tensor) -> bool:
    """Whether log p of these rows (N, *event) is of discrete data, with so many bits for each element."""
    grey = facts.domain == "unit interval" and bool(((x != 0) & (x != 1)).any())
    return facts.discrete and not grey and facts.domain != "tokens"


def against(baseline: Tensor, model: Tensor) -> dict[str, float | None]:
    """The scores of a baseline, and the margin of the model, row by row."""
    value, error = mean_and_error(baseline)
    margin, margin_error = mean_and_error(model - baseline)
    return {
        "log_likelihood": defined(value),
        "standard_error": error,
        "margin": defined(margin),
        "margin_standard_error": margin_error,
    }


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """The mean over rows and its standard error."""
    values = values.double()
    return values.mean().item(), defined(values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan)


def defined(value: Any) -> Any:
    """None for NaN and ±∞, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
