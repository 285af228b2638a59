"""Tables and series with gaps and questions about a part of a row, answered by a fitted model in the user's own table.

    impute            each gap by its mean, a quantile or a draw, given the rest of its row
    imputations       several completed tables, whose spread is what is not known (Rubin 1987)
    draw_given        rows whose other entries are drawn given some
    cell_scores       log p of each cell given the rest of its row

The mathematics is `evaluate.missing`. Classes without an order are filled by their most probable class, whatever else
is asked of numbers, and ordinals by the median, unless the mode is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data import DataError, Rows, Standardize, Transform
from lowerbound.data.column_labels import index_of, name_of
from lowerbound.data.own_table import filled_table, read_own
from lowerbound.data.recorded import as_recorded
from lowerbound.data.remarks import DataWarning, far_from_fit
from lowerbound.data.rows_of_columns import rounded, stored_cell
from lowerbound.data.schema import Column
from lowerbound.evaluate.missing import (
    Completions,
    completions,
    draw_missing,
    log_conditionals,
    of_values,
    require_missing_allowed,
    takes_missing,
    weighted_mode,
    weighted_quantile,
)
from lowerbound.fitted import Fitted
from lowerbound.fitting.plan_size import check_draws
from lowerbound.inference import InferenceWarning
from lowerbound.likelihoods.mixed import Mixed, kinds_of_columns
from lowerbound.randomness import derive_seed
from lowerbound.spelling import check_options
from lowerbound.support import StatesFacts

__all__ = ["are_classes", "cell_scores", "draw_given", "imputations", "impute", "recorded", "summary_of"]

_IMPUTE, _GIVEN, _CELLS, _RECORDED = 5, 6, 7, 8  # streams of random numbers beside those of `fitted`
_FEWEST_LATENTS = 10_000
_CLASSES = ("categorical", "boolean")
_BY_MODE = (*_CLASSES, "ordinal", "count")


def impute(
    fitted: Fitted,
    data: Any,
    *,
    statistic: str | float = "mean",
    num_samples: int = 1000,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """The user's table with its gaps filled. See `Fitted.impute`."""
    _check_types(impute, num_samples=num_samples, seed=seed)
    statistic = _checked(statistic)
    own, rows = _table_rows(fitted, data)
    x, gap = _events(fitted, rows, seed)
    filled = torch.empty_like(x)
    for part in completions(
        fitted.model,
        x,
        num_samples=num_samples,
        context=fitted.context(rows.y, rows.name, rows.covariates),
        seed=_seed(fitted, seed, _IMPUTE),
        progress=progress,
    ):
        filled[part.rows] = summary_of(fitted, part, statistic)
    return _in_own_table(fitted, own, rows, filled, gap)


def imputations(
    fitted: Fitted, data: Any, count: int = 5, *, num_samples: int = 1000, seed: int | None = None
) -> list[Any]:
    """Several completed copies of the user's table. See `Fitted.imputations`."""
    _check_types(imputations, count=count, num_samples=num_samples, seed=seed)
    if count < 1:
        raise ValueError(f"imputations got count={count} and needs at least 1.")
    own, rows = _table_rows(fitted, data)
    x, gap = _events(fitted, rows, seed)
    check_draws(count * len(x), fitted.model, fitted.schema.event_shape)
    drawn, _ = draw_missing(
        fitted.model,
        x,
        count,
        num_samples=num_samples,
        context=fitted.context(rows.y, rows.name, rows.covariates),
        seed=_seed(fitted, seed, _IMPUTE),
    )
    drawn = recorded(fitted, drawn, _seed(fitted, seed, _IMPUTE))
    return [_in_own_table(fitted, own, rows, part, gap) for part in drawn]


def draw_given(fitted: Fitted, given: Mapping[str, Any], count: int, *, seed: int | None = None) -> Tensor:
    """Rows (count, D) in the form that the likelihood scores, whose other entries are drawn given some. What is not
    given is not asked for, which is no gap.

    Raises:
        ValueError: no such column, no value of it, or a likelihood that takes no gaps.

    Warns:
        InferenceWarning: the model thinks what is given so unlikely that few latents lead to it.
        DataWarning: a value is given far outside the range of the fit.
    """
    _check_types(draw_given, given=given, count=count, seed=seed)
    if count < 1:
        raise ValueError(f"sample got {count} draws to make and needs at least 1.")
    check_draws(count, fitted.model, fitted.schema.event_shape)
    x = _events_of_one(fitted, given)
    size = max(_FEWEST_LATENTS, count)
    model, own_seed = of_values(fitted.model), _seed(fitted, seed, _GIVEN)
    drawn, effective = draw_missing(model, x, count, num_samples=size, seed=own_seed)
    if effective.item() < min(count, 100):
        warnings.warn(
            f"The {count} draws given {', '.join(map(str, given))} rest on about {max(1, round(effective.item()))} "
            f"latents of {size:,}; what is given is unlikely under the model, and the draws are too much alike.",
            InferenceWarning,
            stacklevel=4,
        )
    return recorded(fitted, drawn[:, 0], own_seed)


def recorded(fitted: Fitted, x: Tensor, seed: int) -> Tensor:
    """Draws (..., D) as the likelihood scores them, rounded as the values of the fit were recorded."""
    if not any(column.usual_decimals is not None for column in fitted.schema.columns or ()):
        return x
    flat = x.reshape(-1, x.shape[-1])
    stored = as_recorded(fitted.stored(flat).astype(np.float64), fitted.schema, derive_seed(seed, _RECORDED))
    return fitted.transform(torch.from_numpy(stored)).to(x).reshape(x.shape)


def cell_scores(
    fitted: Fitted,
    data: Any,
    *,
    num_samples: int = 1000,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """log p of each cell given the rest of its row. See `Fitted.score_cells`."""
    _check_types(cell_scores, num_samples=num_samples, seed=seed)
    if fitted.schema.columns is None:
        raise ValueError(f"{fitted.called} is of {fitted.schema.rows_called}; cells are those of tables of columns.")
    own, rows = _table_rows(fitted, data)
    x, _ = _events(fitted, rows, seed)
    found = log_conditionals(
        fitted.model,
        x,
        num_samples=num_samples,
        context=fitted.context(rows.y, rows.name, rows.covariates),
        seed=_seed(fitted, seed, _CELLS),
        progress=progress,
    )
    scores = found.double().numpy()
    if isinstance(fitted.transform, Transform):
        scores -= fitted.transform.log_scale_of_cells(x).numpy()
    if not fitted.schema.has_names:
        return scores
    import pandas

    return pandas.DataFrame(scores, columns=index_of(fitted.schema), index=own.index if hasattr(own, "index") else None)


def _checked(statistic: str | float) -> str | float:
    """A statistic that there is."""
    if statistic in ("mean", "median", "mode") or (isinstance(statistic, float | np.floating) and 0 < statistic < 1):
        return statistic
    raise ValueError(
        f"statistic is {statistic!r}; expected 'mean', 'median', 'mode' or a level between 0 and 1, such as 0.05."
    )


def _level_of(statistic: str | float) -> float | None:
    """The level of a quantile, of numbers with a mode their median; None for the mean."""
    if statistic == "mean":
        return None
    return 0.5 if isinstance(statistic, str) else float(statistic)


def _check_types(function: Callable[..., Any], **given: Any) -> None:
    """Refuse an argument of another type than its annotation says, in a sentence."""
    check_options(function.__name__, function, given)


def _table_rows(fitted: Fitted, data: Any) -> tuple[Any, Rows]:
    """The user's own table or array and its rows, of which there must be one."""
    if fitted.schema.columns is None and not takes_missing(fitted.model):
        raise ValueError(
            f"{fitted.called} is of {fitted.schema.rows_called} and its likelihood takes no missing entries; gaps are "
            "filled in tables of columns, and in series by the recipe hidden-markov."
        )
    require_missing_allowed(fitted.model)
    own, rows = read_own(data, fitted.schema)
    if len(rows.x) == 0:
        raise DataError(f"{rows.name} has no rows; give one at least.")
    return own, rows


def _events(fitted: Fitted, rows: Rows, seed: int | None) -> tuple[Tensor, np.ndarray]:
    """Rows as the likelihood scores them, and which entries are missing."""
    x = np.asarray(rows.x)
    return fitted.events(x, seed), np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, dtype=bool)


def _events_of_one(fitted: Fitted, given: Mapping[str, Any]) -> Tensor:
    """One row (1, D) that is known in part."""
    columns = fitted.schema.columns
    if columns is None:
        raise ValueError(f"{fitted.called} is of {fitted.schema.rows_called}; given takes columns of a table.")
    names = [column.name for column in columns]
    if not given:
        raise ValueError("given names no column; leave it out to draw whole rows.")
    if fitted.is_conditional:
        raise ValueError(f"{fitted.called} draws rows given their label; give the label in place of columns.")
    require_missing_allowed(fitted.model)
    row = np.full((1, len(names)), np.nan)
    for key, value in given.items():
        name = name_of(key)
        if name not in names:
            known = ", ".join(f"'{other[:30]}'" for other in names[:4]) + (", …" if len(names) > 4 else "")
            raise DataError(f"there is no column '{str(name)[:40]}' to be given; the model has {known}.")
        place = names.index(name)
        row[0, place] = stored_cell(value, columns[place], "what is given")
        _require_shown(row[0, place], columns[place], value)
        if remark := far_from_fit(row[0, place], columns[place], "what is given"):
            warnings.warn(remark, DataWarning, stacklevel=5)
    return fitted.events(row)


def _require_shown(stored: float, column: Column, value: Any) -> None:
    """Refuse a value that draws of the column do not show, because they are rounded as its values were."""
    shown = float(rounded(np.array([stored]), column)[0])
    if np.isclose(shown, stored, rtol=1e-9, atol=0):
        return
    if column.kind == "count" and stored < 0:
        raise DataError(f"column '{column.name[:40]}' holds counts and {str(value)[:40]} was given; give 0 or more.")
    unit = f"values of {column.decimals} decimals" if column.decimals else "whole numbers"
    if column.kind == "date":
        unit = f"dates written as {column.format}"
    raise DataError(f"column '{column.name[:40]}' holds {unit} and {str(value)[:40]} was given; round it.")


def summary_of(fitted: Fitted, part: Completions, statistic: str | float = "mean") -> Tensor:
    """The value of each entry (B, *event)."""
    level = _level_of(statistic)
    if fitted.schema.columns is None:
        return _summary_of_array(fitted, part, statistic)
    weights = part.weight_of_entries
    logs = fitted.transform.logs if isinstance(fitted.transform, Standardize) else None
    of_draws = None if logs is None or level is not None else _mean_in_units(fitted.transform, part)
    by_mode = _BY_MODE if statistic == "mode" else _CLASSES
    found = []
    for i, column in enumerate(fitted.schema.columns):
        x, weight = part.x[..., i], weights[..., i]
        if part.class_probabilities is not None and column.kind in (*_CLASSES, "ordinal"):
            p = part.class_probabilities[:, i]
            found.append(p.argmax(1).to(x) if column.kind in by_mode else _median_class(p))
        elif column.kind in by_mode:
            found.append(weighted_mode(x, weight))
        elif logs is not None and of_draws is not None and bool(logs[i]):
            found.append(of_draws[:, i])
        elif level is None and column.kind != "ordinal":
            found.append((weight * part.mean[..., i]).sum(0))
        else:
            at = 0.5 if level is None or column.kind == "ordinal" else level
            found.append(weighted_quantile(x, weight, at))
    return torch.stack(found, -1)


def _median_class(p: Tensor) -> Tensor:
    """The smallest class (B,) with a probability of at least a half at or below it, of p (B, K)."""
    return (p.double().cumsum(1) < 0.5 - 1e-6).sum(1).clamp(max=p.shape[1] - 1).to(p)


def _summary_of_array(fitted: Fitted, part: Completions, statistic: str | float) -> Tensor:
    """The same of an array: classes by the most probable one, other numbers by their mean or a quantile, counts by the
    mode if that is asked for.
    """
    weight, level = part.weight_of_entries, _level_of(statistic)
    filled = (weight * part.mean).sum(0) if level is None else weighted_quantile(part.x, weight, level)
    likelihood, width = fitted.model.likelihood, part.x.shape[-1]
    chosen = torch.tensor(are_classes(likelihood, width))
    if statistic == "mode":
        chosen |= torch.tensor(_are_counts(likelihood, width))
    if chosen.any():
        x, weight = (each[..., chosen] for each in (part.x, weight))
        filled[..., chosen] = weighted_mode(x.flatten(1), weight.flatten(1)).view(x.shape[1:])
    return filled


def are_classes(likelihood: Any, width: int) -> list[bool]:
    """Which of the numbers on the last axis of x only name a class."""
    facts = cast(StatesFacts, likelihood).facts
    of_others = facts.domain == "classes" or (facts.domain == "unit interval" and facts.discrete)
    return _are_of(likelihood, width, ("categorical", "ordinal"), of_others)


def _are_counts(likelihood: Any, width: int) -> list[bool]:
    """Which of the numbers on the last axis of x count something."""
    is_count = cast(StatesFacts, likelihood).facts.domain == "counts"
    return _are_of(likelihood, width, ("count", "heteroscedastic-count", "small-count"), is_count)


def _are_of(likelihood: Any, width: int, names: tuple[str, ...], of_others: bool) -> list[bool]:
    """Which of the numbers are of some kinds of column; what is said of others, where the likelihood has no kinds."""
    step = getattr(likelihood, "step", likelihood)
    if not isinstance(step, Mixed):
        return [of_others] * width
    kinds = [name in names for name, _ in kinds_of_columns(step.columns)]
    return kinds if len(kinds) == width else kinds[:1] * width


def _mean_in_units(transform: nn.Module, part: Completions) -> Tensor:
    """What stands for the mean of draws (B, D) in the user's units, of which the likelihood scores the logarithm."""
    assert isinstance(transform, Standardize)
    return transform((part.weight_of_entries * transform.inverse(part.x)).sum(0))


def _in_own_table(fitted: Fitted, own: Any, rows: Rows, x: Tensor, gap: np.ndarray) -> Any:
    """The user's table, whose gaps have the values of rows x that the likelihood scores."""
    known = np.asarray(rows.x, dtype=np.float64)
    return filled_table(own, np.where(gap, fitted.stored(x), known), gap, fitted.schema)


def _seed(fitted: Fitted, seed: int | None, stream: int) -> int:
    return derive_seed(fitted.seed if seed is None else seed, stream)
