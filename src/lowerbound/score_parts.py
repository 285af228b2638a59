"""What all scores of a fitted model share: baselines on the same rows, means with errors, numbers that JSON holds."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from lowerbound.defaults import facts_of
from lowerbound.evaluate import baselines
from lowerbound.models.block_likelihood import BlockLikelihood
from lowerbound.models.directed import DirectedLikelihood
from lowerbound.models.sequence_steps import ChainRule, EachStep
from lowerbound.support import LikelihoodFacts

__all__ = ["against", "baselines_of", "defined", "is_discrete", "mean_and_error"]

_OF_VECTORS = ("gaussian", "gaussian_mixture")  # that take no images


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
        found[name.replace("_", " ")] = getattr(baselines, name)(x_train, x_test, seed=seed)
    return found


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
