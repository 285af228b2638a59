"""Fit data in one call from Python, like `lowerbound fit`.

import lowerbound as lb
fitted = lb.fit(frame)
fitted.sample(10), fitted.score(other), fitted.report("report.html"), fitted.save("runs/mine")
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from lowerbound.data import Dataset, names
from lowerbound.data.covariates import names_of_covariates
from lowerbound.data.given import dataset_of, told
from lowerbound.data.overrides import Overrides
from lowerbound.data.transform import Transform
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit as train_on
from lowerbound.fitting.start import Start, plan_from
from lowerbound.loggers import ChosenLogger, recording
from lowerbound.models.recipe import Recipe
from lowerbound.training.record import Record

__all__ = ["fit", "fit_dataset", "start_of"]


def fit(
    data: Any,
    recipe: str | Recipe | None = None,
    *,
    y: Any = None,
    array: str | None = None,
    kind: str | None = None,
    columns: Mapping[Any, str] | None = None,
    series: str | None = None,
    time: str | None = None,
    covariates: str | Sequence[str] = (),
    hold_out: bool = True,
    on_record: Callable[[Record], None] | None = None,
    logger: ChosenLogger = None,
    start_from: Fitted | str | Path | None = None,
    **given: Any,
) -> Fitted:
    """Fit a model to data. Settings that are left open are decided from the data; `fitted.plan` holds them.

    Arguments:
        data: a DataFrame (of pandas, polars or pyarrow), an array or tensor (N, …), an AnnData, a path, a name of the
            catalogue, or a `Dataset`.
        recipe: name of a recipe, with options, or a `Recipe`; None for what suits the data.
        y: labels (N,) of a DataFrame or an array, for recipes that use labels; or the name of their column.
        array: the layer of an AnnData that holds the counts, or the array of a file of several.
        kind: of data, where the inferred one is wrong.
        columns: from names of columns to kinds, where the inferred ones are wrong.
        series: of a table of steps, the column that names the series of each row; the other columns are its channels.
        time: of a table of steps, the column that orders each series: numbers or dates on a grid, whose holes are steps
            that are missing. None takes the rows in their order.
        covariates: columns that the model is given and does not model, of `obs`, of a DataFrame or of a file; the
            recipe cells takes them. The first with categories is the batch.
        hold_out: whether one row in five is held out for `Fitted.evaluate` and reports; otherwise all rows are for
            training.
        on_record: called with each record of training.
        logger: where the records go too: one of `loggers`, or its name with options, as in "csv:folder=logs".
        start_from: a fitted model, or the folder of a run, whose model, weights, transform and seed are taken over; the
            data are read under its schema. `freeze=["likelihood"]` then holds parts fixed. Cells of a batch that it
            does not know get weights of their own, and all others stay as they are.
        given: settings and options by name, as `planning.plan` takes them. Modules are copied: those that were given
            stay as they are, the trained ones are in `fitted.model`.

    Raises:
        ValueError: data that cannot be read, an unknown name, or choices that do not go together.
        NonFiniteError: the loss became NaN or infinite.

    Warns:
        DataWarning: rows were left out, or something else of the data may not be what was meant.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> fit(X, "vae", latent_dim=2, hidden=[8], steps=10).sample(4).shape
    (4, 3)
    """
    if "label" in given:
        raise ValueError(
            "fit got label, which is the command's word; name the column of labels by y, as in y='outcome'."
        )
    given = {name: copy.deepcopy(value) if isinstance(value, nn.Module) else value for name, value in given.items()}
    said = Overrides.said(kind, columns, series=series, time=time)
    start = None if start_from is None else start_of(start_from)
    if start is not None and (kind or columns or series or time):
        raise ValueError(
            "fit got start_from with kind, columns, series or time, which the start says itself; leave them out."
        )
    schema = None if start is None else start.reads
    dataset = dataset_of(data, y, array=array, schema=schema, overrides=said, covariates=covariates, hold_out=hold_out)
    if isinstance(data, Dataset):
        told(dataset)
    place = {}
    if isinstance(data, str | Path):
        label = y if isinstance(y, str) else None
        said_of = {"label": label, "kind": kind, "columns": columns, "series": series, "time": time}
        place = described(data, array=array, covariates=names_of_covariates(covariates), **said_of)
    return fit_dataset(dataset, recipe, on_record=on_record, logger=logger, start=start, place=place, **given)


def described(data: str | Path, **said: Any) -> dict[str, Any]:
    """Where a run finds its data again: a name of the catalogue, or a path with what was said of it."""
    if str(data) in names():
        return {"name": str(data)}
    return {"path": os.path.realpath(data), **{name: value for name, value in said.items() if value}}


def fit_dataset(
    dataset: Dataset,
    recipe: str | Recipe | None = None,
    *,
    on_record: Callable[[Record], None] | None = None,
    logger: ChosenLogger = None,
    start: Start | None = None,
    place: Mapping[str, Any] | None = None,
    **given: Any,
) -> Fitted:
    """The same for a data set, a start that was read, and where the data can be found again (see `described`)."""
    planned = plan_from(start, dataset, recipe, **given)
    own = recipe if isinstance(recipe, Recipe) else None if start is None else start.recipe
    engine = planned.engine()
    training = prepare(dataset, planned, engine, recipe=own, start_from=start)
    records, told = [], logger if engine.rank == 0 else None
    with recording(told, run_name=planned.recipe, config=planned.to_json()) as log:
        for record in train_on(training, planned, engine):
            records.append(dataclasses.asdict(record))
            log(record)
            if on_record is not None:
                on_record(record)
    return Fitted(
        training.loss.model.cpu(),
        schema=dataset.schema,
        plan=planned,
        recipe=own,
        transform=training.transform.cpu(),
        name=planned.recipe,
        data=dataset,
        records=records,
        config={"data": dict(place or {}), **({} if start is None else {"came_from": dict(start.origin)})},
    )


def start_of(fitted: Fitted | str | Path) -> Start:
    """Where a new fit begins that takes over a fitted model, or that of a run folder.

    Raises:
        ValueError: the folder holds no trained model, or the model was built by hand.
    """
    fitted = fitted if isinstance(fitted, Fitted) else Fitted.open(fitted)
    if fitted.plan is None:
        raise ValueError(f"{fitted.name} was built by hand and has no plan; train it on with lb.train.")
    origin: dict[str, Any] = {"run": fitted.name}
    if fitted.folder is not None:
        weights = (fitted.folder / "model.safetensors").read_bytes()
        origin = {"run": str(fitted.folder.resolve()), "weights": hashlib.sha256(weights).hexdigest()}
    return Start(
        tensors=fitted.model.state_dict(),
        transform=cast(Transform, copy.deepcopy(fitted.transform)),
        schema=fitted.schema,
        plan=fitted.plan,
        recipe=fitted.recipe,
        origin=origin,
    )
