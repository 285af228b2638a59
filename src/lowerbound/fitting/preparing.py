"""From data and a plan to everything that `loop.train` takes.

    prepare(dataset, plan)  →  Training: a loss, its rows, the number of steps  →  stages.fit  →  records

The command and the estimators both call these functions, so that they train in the same way. A run folder holds the
plan, with which training is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lowerbound import baselines, gradients, losses, objectives, penalties
from lowerbound import inference as inferences
from lowerbound.data import Dataset, InMemory, MemoryMapped, OnData, Source
from lowerbound.data.blocks import row_blocks
from lowerbound.data.classes import UNLABELLED, check_classes, num_classes, one_hot, one_hot_or_zero, only_some
from lowerbound.data.covariates import encode_covariates
from lowerbound.data.labelled import LabelledRows
from lowerbound.data.sparse import Array
from lowerbound.data.split import num_for_selection
from lowerbound.data.transform import Standardize, Transform
from lowerbound.fitting.defaults import facts_of
from lowerbound.fitting.plan_size import check_model
from lowerbound.fitting.planning import Plan, check_plan
from lowerbound.fitting.start import Start, freeze
from lowerbound.inference import with_inference
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import COVARIATES, BeforeTraining, Labels, Recipe, SecondStage
from lowerbound.nets.shapes import Shape
from lowerbound.optimizers import optimizer_of
from lowerbound.randomness import derive_seed, forked
from lowerbound.recipes import recipe_named
from lowerbound.row_numbers import numbered, rows_from
from lowerbound.spelling import build, construct, parse, takes
from lowerbound.support import require_support
from lowerbound.training.engine import Engine
from lowerbound.training.loop import check_compiled, check_patience, steps_for
from lowerbound.training.sharding import check_sharded

__all__ = [
    "Training",
    "given_to_choices",
    "make_gradient",
    "make_loss",
    "make_model",
    "make_transform",
    "parts_of",
    "prepare",
    "transform_rows",
    "with_plan",
]

_CPU = torch.device("cpu")
_ROWS_TO_INITIALIZE, _MOST_IN_MEMORY = 5000, 0.25


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `stages.fit` takes.

    Attributes:
        loss: with the model.
        transform: from stored rows to what the likelihood scores.
        source: training rows.
        held_out: rows to choose the weights by; None where there are no steps.
        num_steps: of the first stage.
        numbers: which rows of the user's data those of the source are, for messages; None for all, in their order.
        start: what is done before the first step.
        finish: the second stage, if there is one.
        finish_epochs: the passes of it, at most.
    """

    loss: Loss
    transform: Transform
    source: Source
    held_out: Source | None
    num_steps: int
    numbers: np.ndarray | None = None
    start: BeforeTraining | None = None
    finish: SecondStage | None = None
    finish_epochs: float = 0

    def last_step(self, plan: Plan) -> int:
        """The number of the last step, that of the finish included, if nothing stops early."""
        if not self.finish_epochs:
            return self.num_steps
        return self.num_steps + steps_for(self.finish_epochs, len(self.source), plan.batch_size)


def prepare(
    dataset: Dataset, plan: Plan, engine: Engine, recipe: Recipe | None = None, start_from: Start | None = None
) -> Training:
    """Split off held-out rows, make the model, initialise it from data, and check that everything goes together.

    Arguments:
        dataset: the data.
        plan: how to fit them.
        engine: where to compute.
        recipe: that of the plan, if it is not one of `recipes.recipes()`.
        start_from: weights to begin from, in place of what the recipe begins with.

    Raises:
        ValueError: a name that is not known, data outside the likelihood's support, or choices that do not go together.
    """
    device, recipe = engine.torch_device, recipe or recipe_named(plan.recipe)
    _refuse_unused(plan)
    check_plan(plan, recipe, dataset.event_shape)
    with forked(_CPU, plan.seed):
        model = recipe.model(dataset.event_shape, plan.model)
        transform = make_transform(dataset, plan, model) if start_from is None else start_from.transform
        source, held_out, numbers = _split(dataset, transform, device, plan, recipe.labels)
        with forked(_CPU):  # so that the start does not depend on the number of test rows
            _check_support(dataset, model, transform)
        some, *labels = transform_rows(source, _rows_to_initialize(len(source), recipe.labels))
        model.initialize(some.to(_CPU), labels[0].to(_CPU) if labels and recipe.labels == "covariates" else None)
        freeze(model, plan.freeze)
        loss = make_loss(plan, model, dataset.event_shape, len(source))
        _refuse_redrawn(loss, plan)
        if start_from is not None:
            start_from.give(loss.model)
        loss.check(some[:2].to(_CPU), *(part[:2].to(_CPU) for part in labels[:1]))
    check_patience(loss, plan.patience)
    finish = recipe.finish if recipe.finish is not None and recipe.finish.part not in plan.freeze else None
    optimizer = optimizer_of(plan.optimizer)
    if plan.steps and plan.compile is True and loss.compiles:
        check_compiled(engine, optimizer, plan.accumulate)
    if engine.strategy == "fsdp":
        check_sharded(loss, optimizer)
        if finish is not None:
            raise ValueError(f"fsdp trains in one stage and {plan.recipe} has two; use ddp.")
    return Training(
        loss=loss,
        transform=transform,
        source=source,
        held_out=held_out,
        num_steps=plan.steps,
        numbers=numbers,
        start=None if start_from is not None else recipe.start,
        finish=None if finish is None else finish.make,
        finish_epochs=0 if finish is None else plan.model[finish.epochs],
    )


def _refuse_redrawn(loss: Loss, plan: Plan) -> None:
    """Refuse pixels drawn anew as 0 and 1 where means are compared with them: the kind of number tells the two apart.

    Raises:
        ValueError: saying what to take.
    """
    if loss.compares_means and plan.binarization == "dynamic":
        raise ValueError(
            f"{type(loss).__name__} compares E[x | z] with x, and pixels drawn anew as 0 or 1 differ from every mean; "
            "take --likelihood normal:scale=0.1, which sees grey values, or --binarization threshold."
        )


def _rows_to_initialize(count: int, kind: Labels) -> Tensor:
    """The first rows; evenly spaced ones where there are covariates, by which files are often sorted."""
    if kind != "covariates":
        return torch.arange(min(count, _ROWS_TO_INITIALIZE))
    return torch.arange(0, count, -(-count // _ROWS_TO_INITIALIZE))


def make_model(plan: Plan, event_shape: Shape) -> LatentVariableModel:
    """The untrained model of a plan; its inference is the encoder's (see `with_plan`)."""
    recipe = recipe_named(plan.recipe)
    check_model(recipe, plan.model, event_shape)
    return recipe.model(event_shape, plan.model)


def make_transform(dataset: Dataset, plan: Plan, model: LatentVariableModel) -> Transform:
    """From stored rows to what the likelihood of the model scores, measured on the training rows."""
    kind, facts = dataset.kind_of_data, facts_of(model.likelihood)
    if plan.binarization != "none" and not (facts.domain == "unit interval" and facts.discrete):
        raise ValueError(
            f"binarization is {plan.binarization!r} and the likelihood {type(model.likelihood).__name__}, which is not "
            "one of 0 and 1; leave binarization out, or take the likelihood bernoulli."
        )
    logs = {"log_columns": plan.log_columns} if plan.log_columns else {}  # which tables alone have
    return kind.transform(dataset, facts, binarization=plan.binarization, standardize=plan.standardize, **logs)


def with_plan(model: LatentVariableModel, plan: Plan, event_shape: Shape) -> LatentVariableModel:
    """The model with the inference scheme of the plan: the model of the loss."""
    if plan.inference is None:
        return model
    return with_inference(model, construct(inferences, plan.inference, **given_to_choices(plan, model, event_shape, 0)))


def transform_rows(source: Source, rows: Tensor) -> tuple[Tensor, ...]:
    """Rows as the loss sees them."""
    return source.transform(*source.gather(rows))


def make_gradient(words: str, given: Mapping[str, Any]) -> Any:
    """The estimator that the words describe, with its baseline if they name one."""
    name, options = parse(words)
    if isinstance(options.get("baseline"), str):
        options["baseline"] = construct(baselines, options["baseline"], **given)
    return build(gradients, name, options, **given)


def make_loss(plan: Plan, model: LatentVariableModel, event_shape: Shape, num_data: int) -> Loss:
    """The loss that the plan describes; each choice gets the arguments that it names."""
    given = given_to_choices(plan, model, event_shape, num_data)
    return construct(
        losses,
        plan.loss,
        model=model,
        event_shape=event_shape,
        inference=None if plan.inference is None else construct(inferences, plan.inference, **given),
        objective=construct(objectives, plan.objective, **given),
        gradient=make_gradient(plan.gradient, given),
        num_samples=plan.num_samples,
        penalty=None if plan.penalty is None else construct(penalties, plan.penalty, model=model, **given),
    )


def given_to_choices(plan: Plan, model: LatentVariableModel, event_shape: Shape, num_data: int) -> dict[str, Any]:
    """The values that a choice may request by the name of an argument."""
    stated = plan.model.get("latent_dim")
    latent_dim = model.prior(None).event_shape.numel() if stated is None else stated
    return {"event_shape": event_shape, "num_data": num_data, "latent_dim": latent_dim}


def _refuse_unused(plan: Plan) -> None:
    """Refuse a choice that the loss would not use."""
    for name, unsaid in (("gradient", "pathwise"), ("penalty", None), ("inference", None)):
        chosen = getattr(plan, name)
        if chosen != unsaid and not takes(losses, plan.loss, name):
            raise ValueError(
                f"The {plan.loss} loss takes no {name} and got {chosen!r}; leave it out, or use the variational loss."
            )


def _check_support(dataset: Dataset, model: LatentVariableModel, transform: Transform) -> None:
    """Refuse rows with values outside the support of the likelihood."""
    parts = (
        ("training", dataset.x_train, dataset.train_rows, dataset.train_numbers),
        ("test", dataset.x_test, None, dataset.test_rows),
    )
    for part, x, rows, numbers in parts:
        what = f"the {part} part of {dataset.name}" if numbers is None else dataset.name
        for start, block in row_blocks(x, rows):
            raw = torch.from_numpy(np.require(block, requirements=["C", "W"]))
            with numbered(numbers), rows_from(start):
                names = dataset.schema.column_names
                transform.check(raw, what, names)
                own = raw if isinstance(transform, Standardize) else None
                require_support(model.likelihood, transform(raw), what=what, columns=names, given=own)


def parts_of(dataset: Dataset, plan: Plan, kind: Labels) -> list[Int[np.ndarray, "row"]]:
    """Places among the training rows: those that are trained on, and those that choose the weights (none without
    steps).

    Raises:
        ValueError: fewer than two rows.
    """
    count = dataset.num_train if dataset.train_rows is None else len(dataset.train_rows)
    if count < 2:
        raise ValueError(f"{dataset.name} has {count} training row and needs at least 2.")
    order = np.random.default_rng(derive_seed(plan.seed)).permutation(count)
    num_held_out = 0 if plan.steps == 0 else num_for_selection(count)
    learns = kind == "partial" or (kind == "covariates" and "num_classes" in plan.model)
    if learns and dataset.y_train is not None:  # a label that is held out teaches nothing
        has_none = (UNLABELLED, plan.model.get("unknown_class", UNLABELLED))
        order = order[np.argsort(~np.isin(dataset.y_train[order], has_none), kind="stable")]
    return [np.sort(order[num_held_out:]), np.sort(order[:num_held_out])]


def _split(
    dataset: Dataset, transform: Transform, device: torch.device, plan: Plan, kind: Labels
) -> tuple[Source, Source | None, np.ndarray]:
    """Training rows; a tenth of them, at most 5,000, held out to choose the weights, or none of them without steps; and
    which rows of the user's data the first are.
    """
    rows = np.arange(dataset.num_train) if dataset.train_rows is None else dataset.train_rows
    parts = parts_of(dataset, plan, kind)
    labels = _labels(dataset, plan, parts, kind)
    partial = kind == "partial"
    if dataset.train_rows is None and _fits(dataset.x_train, device):
        x = torch.from_numpy(np.require(dataset.x_train, requirements=["C", "W"]))
        tensors = [(x[torch.from_numpy(part)], *of_part) for part, of_part in zip(parts, labels, strict=True)]
        sources: list[Source] = [InMemory(tensor, OnData(transform), device=device) for tensor in tensors]
        if partial:
            rows_of_x, y = tensors[0]
            sources[0] = LabelledRows(rows_of_x, y, transform, device=device)
    elif partial:
        raise ValueError(f"{plan.recipe} keeps its rows in memory and {dataset.name} is too large for it.")
    else:
        sources = [
            MemoryMapped(dataset.x_train, OnData(transform), rows=rows[part], others=of_part, device=device)
            for part, of_part in zip(parts, labels, strict=True)
        ]
    known = np.arange(len(rows)) if dataset.train_numbers is None else dataset.train_numbers
    return sources[0], sources[1] if len(parts[1]) else None, known[parts[0]]


def _labels(dataset: Dataset, plan: Plan, parts: list[np.ndarray], kind: Labels) -> list[tuple[Tensor, ...]]:
    """What the loss gets of the labels of training rows and held-out rows, besides the data."""
    some = kind == "covariates" and "num_classes" in plan.model
    if plan.labelled is not None and kind != "partial" and not some:
        raise ValueError(f"The {plan.recipe} recipe does not learn from some labels; leave labelled out.")
    if some:
        return _covariates_and_labels(dataset, plan, parts)
    if kind == "unused" or (kind in COVARIATES and dataset.covariates_train is None):
        return [(), ()]
    if dataset.covariates_train is not None:
        encoded = encode_covariates(dataset.covariates_train, dataset.schema.covariates)
        return [(encoded[part],) for part in parts]
    partial = kind == "partial"
    count = plan.model.get("num_classes") or num_classes(dataset, some_unlabelled=partial)
    y = check_classes(dataset.y_train, count, dataset.name, some_unlabelled=partial)
    train, held_out = (y[part] for part in parts)
    if kind == "context":
        return [(one_hot(train, count),), (one_hot(held_out, count),)]
    if plan.labelled is not None:
        train = only_some(train, plan.labelled, derive_seed(plan.seed), dataset.name)
    return [(torch.from_numpy(train),), (torch.full((len(held_out),), UNLABELLED),)]


def _covariates_and_labels(dataset: Dataset, plan: Plan, parts: list[np.ndarray]) -> list[tuple[Tensor, ...]]:
    """Covariates, and after them the labels of rows that are trained on; a held-out row has none."""
    count, unknown = plan.model["num_classes"], plan.model.get("unknown_class")
    y = np.full(dataset.num_train, UNLABELLED) if dataset.y_train is None else dataset.y_train.astype(np.int64)
    if unknown is not None:
        y = np.where(y == unknown, UNLABELLED, y)
    given = dataset.covariates_train
    c = torch.zeros(len(y), 0) if given is None else encode_covariates(given, dataset.schema.covariates)
    train, held_out = parts
    labels = y[train]
    if plan.labelled is not None:
        labels = only_some(labels, plan.labelled, derive_seed(plan.seed), dataset.name)
    of_train = torch.cat([c[train], one_hot_or_zero(labels, count)], 1)
    return [(of_train,), (torch.cat([c[held_out], torch.zeros(len(held_out), count)], 1),)]


def _fits(x: Array, device: torch.device) -> bool:
    """Whether the rows may stay on the device: always on the CPU, elsewhere if they take at most a quarter of its
    memory.
    """
    if device.type != "cuda":
        return True
    return x.nbytes <= _MOST_IN_MEMORY * torch.cuda.get_device_properties(device).total_memory
