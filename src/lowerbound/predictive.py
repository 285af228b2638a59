"""Predictive checks of a fitted model: statistics that suit its kind of data, by the names of its columns."""

from __future__ import annotations

from functools import partial

from lowerbound.data.schema import Schema
from lowerbound.evaluate import PredictiveChecks, predictive_checks
from lowerbound.evaluate.predictive_statistics import (
    Statistics,
    count_statistics,
    image_statistics,
    number_statistics,
    table_statistics,
    text_statistics,
)
from lowerbound.fitted import Fitted

__all__ = ["predictive_checks_of", "statistics_for"]


def predictive_checks_of(
    fitted: Fitted, *, limit: int | None = None, num_replicates: int = 200, seed: int | None = None
) -> PredictiveChecks:
    """Held-out rows of a fitted model against as many that it makes.

    Arguments:
        fitted: the model; of a conditional one rows are made for the classes of the test rows.
        limit: only so many test rows, the first.
        num_replicates: how often as many rows are made.
        seed: of all draws; that of the fit if None.

    Raises:
        DataError: its data are gone or have changed.
        ValueError: as `evaluate.predictive_checks`.
    """
    rows, seed = fitted.test_rows(), fitted.seed if seed is None else seed
    y = None if rows.y is None else rows.y[:limit]
    return predictive_checks(
        fitted.model,
        fitted.events(rows.x[:limit], seed),
        statistics_for(fitted.schema),
        units=fitted.transform.inverse,  # type: ignore[operator]
        num_replicates=num_replicates,
        context=fitted.context(y, rows.name, None if rows.covariates is None else rows.covariates[:limit]),
        seed=seed,
    )


def statistics_for(schema: Schema) -> Statistics:
    """The statistics of a kind of data (see `evaluate.predictive_statistics`)."""
    if schema.kind == "image":
        return partial(image_statistics, high=1.0 if schema.pixel_levels is None else schema.pixel_levels - 1.0)
    if schema.is_written:
        return text_statistics
    if schema.columns is None:
        return number_statistics
    names = tuple(column.name for column in schema.columns)
    if schema.kind == "counts":
        return partial(count_statistics, names=names)
    return partial(table_statistics, names=names, categories=tuple(column.categories for column in schema.columns))
