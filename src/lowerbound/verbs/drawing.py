"""Rows that a fitted model makes, from its prior or from other rows (`Fitted.sample`, `draw`, `reconstruct`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.classes import class_named, one_hot
from lowerbound.fitted import Fitted
from lowerbound.fitting.plan_size import check_draws
from lowerbound.models.recipe import COVARIATES
from lowerbound.randomness import derive_seed, forked
from lowerbound.verbs.drawn_context import drawn_context
from lowerbound.verbs.imputing import draw_given, recorded
from lowerbound.verbs.writing import written

__all__ = ["draw", "reconstruct", "sample"]

_CPU = torch.device("cpu")
_SAMPLE, _RECONSTRUCT = 3, 4  # streams of random numbers


def sample(
    fitted: Fitted,
    count: int,
    *,
    label: str | None,
    given: Mapping[str, Any] | None,
    decoding: str | None,
    scaffold: str | None,
    seed: int | None,
) -> Any:
    """Draws in the form of the user's data, as `Fitted.sample` says."""
    if decoding is not None or scaffold is not None:
        if label is not None or (given is not None and not fitted.schema.covariates):
            raise ValueError("sample got decoding or scaffold with label or given; leave these out.")
        return fitted.render(written(fitted, count, decoding or "sample", seed, given=given, scaffold=scaffold))
    if given is not None and not fitted.schema.covariates:
        if label is not None:
            raise ValueError("sample got both label and given; give one of them.")
        return fitted.render(fitted.finite(draw_given(fitted, given, count, seed=seed)))
    x, _, _ = draw(fitted, count, label=label, given=given, seed=seed)
    return fitted.render(x)


def draw(
    fitted: Fitted, count: int, *, label: str | None, given: Mapping[str, Any] | None, seed: int | None
) -> tuple[Tensor, Tensor, np.ndarray | None]:
    """Draws of x, E[x | z] of each and their classes, as `Fitted.draw` says."""
    if count < 1:
        raise ValueError(f"sample got {count} draws to make and needs at least 1.")
    check_draws(count, fitted.model, fitted.schema.event_shape)
    labels = _labels(fitted, label, count)
    context = None if labels is None or fitted.plan is None else one_hot(labels, fitted.plan.model["num_classes"])
    if fitted.schema.covariates:
        context = drawn_context(fitted, count, given, seed)
    own_seed = derive_seed(fitted.seed if seed is None else seed, _SAMPLE)
    with torch.no_grad(), forked(_CPU, own_seed):
        x, mean = fitted.model.draw(count, context)
    return recorded(fitted, fitted.finite(x), own_seed), mean, labels


def reconstruct(fitted: Fitted, data: Any, *, seed: int | None) -> Any:
    """E[x' | z] at one draw z ~ q(z | x) for each row, as `Fitted.reconstruct` says."""
    parts, rows = [], fitted.rows(data)
    for x, context, part_seed in fitted.blocks(rows, seed):
        with forked(_CPU, derive_seed(part_seed, _RECONSTRUCT)):
            parts.append(fitted.model.reconstruct(x, context))
    rendered = fitted.render(fitted.finite(torch.cat(parts)), like=rows)
    both = fitted.schema.series is None and hasattr(rendered, "set_axis") and hasattr(data, "columns")
    return rendered.set_axis(data.index) if both else rendered


def _labels(fitted: Fitted, label: str | None, count: int) -> np.ndarray | None:
    """The class of each draw; None where the model draws the class itself, or has no classes."""
    labels = "unused" if fitted.recipe is None else fitted.recipe.labels
    if labels == "unused" or labels in COVARIATES:
        if label is not None and fitted.recipe is not None and fitted.recipe.takes_some_labels:
            raise ValueError(f"{fitted.called} draws rows of all classes by their shares; leave out the class.")
        if label is not None:
            raise ValueError(f"{fitted.called} was fitted without labels; leave out the class.")
        return None
    assert fitted.plan is not None
    number = fitted.plan.model["num_classes"]
    if label is None:
        return np.arange(count) % number if fitted.is_conditional else None
    return np.full(count, class_named(label, number, fitted.schema.classes))
