"""Predictive checks of a fitted model: statistics that suit its kind of data, by the names of its columns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from jaxtyping import Float, Float64
from torch import Tensor

from lowerbound.data.dates import unit_of_durations
from lowerbound.data.schema import Schema
from lowerbound.evaluate import PredictiveChecks, conditional_ranks, predictive_checks
from lowerbound.evaluate.batches import context_rows
from lowerbound.evaluate.missing import of_values
from lowerbound.evaluate.predictive_statistics import (
    Statistics,
    count_statistics,
    image_statistics,
    molecule_statistics,
    number_statistics,
    series_statistics,
    table_statistics,
    text_statistics,
)
from lowerbound.evaluate.ranks_given_others import has_conditionals
from lowerbound.fitted import Fitted
from lowerbound.protocols import Context

__all__ = ["models_gaps", "predictive_checks_of", "statistics_for"]

_MOST_ROWS, _MOST_COLUMNS, _FEWEST_ROWS = 500, 40, 50
_MOST_NUMBERS = 2**19  # rows x columns x columns that are ranked


def predictive_checks_of(
    fitted: Fitted, *, limit: int | None = None, num_replicates: int = 200, seed: int | None = None
) -> PredictiveChecks:
    """Held-out rows of a fitted model against as many that it makes. Each number of a table is also ranked given
    the others of its row, in the first 500 rows and the first 40 columns; in fewer rows if columns are many, and not at
    all above 260 columns, or for a model that has no such distribution (`evaluate.has_conditionals`).

    Arguments:
        fitted: the model; of a conditional one rows are made for the classes of the test rows.
        limit: only so many test rows, the first.
        num_replicates: how often as many rows are made.
        seed: of all draws; that of the fit if None.

    Raises:
        DataError: its data are gone or have changed.
        ValueError: as `evaluate.predictive_checks`; or a model of gaps that depend on what they hide.
    """
    if models_gaps(fitted):
        raise ValueError(
            f"{fitted.called} models which entries are missing, and the rows that it makes are complete, unlike those "
            "that are seen; look at what `impute` and `score` say in place of predictive checks."
        )
    rows, seed = fitted.test_rows(), fitted.seed if seed is None else seed
    y = None if rows.y is None else rows.y[:limit]
    covariates = None if rows.covariates is None else rows.covariates[:limit]
    x, context = fitted.events(rows.x[:limit], seed), fitted.context(y, rows.name, covariates)
    found = predictive_checks(
        fitted.model,
        x,
        statistics_for(fitted.schema),
        units=fitted.transform.inverse,  # type: ignore[operator]
        num_replicates=num_replicates,
        context=context,
        seed=seed,
    )
    formats = _formats(fitted.schema)
    checks = {name: replace(check, format=formats.get(name)) for name, check in found.checks.items()}
    return replace(found, checks=checks, conditional_ranks=_given_others(fitted, x, context, seed))


def models_gaps(fitted: Fitted) -> bool:
    """Whether which entries are missing is a part of the model."""
    return of_values(fitted.model) is not fitted.model


def _given_others(
    fitted: Fitted, x: Float[Tensor, "batch *event"], context: Context | None, seed: int
) -> Float64[Tensor, "row column"] | None:
    """`conditional_ranks` of the columns of a table; None where there are none, or where they would take too long."""
    width = x[0].numel()
    rows = min(_MOST_ROWS, _MOST_NUMBERS // (width * min(width, _MOST_COLUMNS)))
    if fitted.schema.columns is None or rows < _FEWEST_ROWS or not has_conditionals(fitted.model, x, context):
        return None
    some = slice(0, rows)
    return conditional_ranks(
        fitted.model, x[some], context=context_rows(context, some), num_columns=_MOST_COLUMNS, seed=seed
    )


def statistics_for(schema: Schema) -> Statistics:
    """The statistics of a kind of data (see `evaluate.predictive_statistics`)."""
    if schema.kind == "image":
        return partial(image_statistics, high=1.0 if schema.pixel_levels is None else schema.pixel_levels - 1.0)
    if schema.molecules is not None:
        return partial(molecule_statistics, symbols=schema.molecules.symbols)
    if schema.is_written:
        return text_statistics
    if schema.columns is None:
        return series_statistics if len(schema.event_shape) == 2 else number_statistics
    names = tuple(column.name for column in schema.columns)
    if schema.kind == "counts":
        return partial(count_statistics, names=names)
    return partial(
        table_statistics,
        names=names,
        categories=tuple(column.categories for column in schema.columns),
        durations={c.name: unit_of_durations((c.high or 0) - (c.low or 0)) for c in schema.columns if c.kind == "date"},
    )


def _formats(schema: Schema) -> dict[str, str | None]:
    """How statistics that are dates are written, by their names."""
    dates = [column for column in schema.columns or () if column.kind == "date"]
    return {f"{column.name}: {what}": column.format for column in dates for what in ("mean", "min", "max")}
