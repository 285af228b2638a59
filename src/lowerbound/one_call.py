"""Fit data in one call from Python, like `lowerbound fit`.

import lowerbound as lb
fitted = lb.fit(frame)
fitted.sample(10), fitted.score(other), fitted.report("report.html"), fitted.save("runs/mine")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lowerbound.data import Dataset
from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
from lowerbound.fitted import Fitted
from lowerbound.fitting import fit as train_on
from lowerbound.fitting import prepare
from lowerbound.loop import Record
from lowerbound.models.recipe import Recipe
from lowerbound.planning import plan

__all__ = ["fit", "fit_dataset"]


def fit(
    data: Any,
    recipe: str | Recipe | None = None,
    *,
    y: Any = None,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
    hold_out: bool = True,
    on_record: Callable[[Record], None] | None = None,
    **given: Any,
) -> Fitted:
    """Fit a model to data. Settings that are left open are decided from the data; `fitted.plan` holds them.

    Arguments:
        data: a DataFrame, an array or tensor (N, …), a path, a name of the catalogue, or a `Dataset`.
        recipe: name of a recipe, with options, or a `Recipe`; None for what suits the data.
        y: labels (N,) of a DataFrame or an array, for recipes that use labels.
        kind: of data, where the inferred one is wrong.
        columns: from names of columns to kinds, where the inferred ones are wrong.
        hold_out: whether one row in five is held out for `Fitted.evaluate` and reports; otherwise all rows are for
            training.
        on_record: called with each record of training.
        given: settings and options by name, as `planning.plan` takes them.

    Raises:
        ValueError: data that cannot be read, an unknown name, or choices that do not go together.
        NonFiniteError: the loss became NaN or infinite.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> fit(X, "vae", latent_dim=2, hidden=[8], steps=10).sample(4).shape
    (4, 3)
    """
    said = Overrides.said(kind, columns)
    dataset = dataset_of(data, y, overrides=said, hold_out=hold_out)
    return fit_dataset(dataset, recipe, on_record=on_record, **given)


def fit_dataset(
    dataset: Dataset,
    recipe: str | Recipe | None = None,
    *,
    on_record: Callable[[Record], None] | None = None,
    **given: Any,
) -> Fitted:
    """The same for a data set."""
    planned = plan(dataset, recipe, **given)
    engine = planned.engine()
    training = prepare(dataset, planned, engine, recipe=recipe if isinstance(recipe, Recipe) else None)
    records = []
    for record in train_on(training, planned, engine):
        records.append(dataclasses.asdict(record))
        if on_record is not None:
            on_record(record)
    return Fitted(
        training.loss.model.cpu(),
        schema=dataset.schema,
        plan=planned,
        recipe=recipe if isinstance(recipe, Recipe) else None,
        transform=training.transform.cpu(),
        name=planned.recipe,
        data=dataset,
        records=records,
    )
