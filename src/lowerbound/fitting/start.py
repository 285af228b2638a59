"""Where a fit begins: at the weights of another model, with parts of it held fixed.

A new fit of the same model takes over every weight of the one before, and with them the transform of its data: weights
that were learned for standardised columns belong to that mean and that scale. Its data are read under the schema of the
model, so that columns and classes are matched by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lowerbound.data.covariates import Covariate, OpenCovariate, batch_of
from lowerbound.data.dataset import Dataset
from lowerbound.data.schema import Schema
from lowerbound.data.transform import Transform
from lowerbound.fitting.planning import Plan, plan
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import OF_THE_DATA, Recipe
from lowerbound.nets.added_categories import is_added
from lowerbound.spelling import parse

__all__ = ["Start", "freeze", "plan_from", "require_schema"]

_OF_THE_TRANSFORM = ("binarization", "standardize", "log_columns")
_INHERITED = (*_OF_THE_TRANSFORM, "seed")  # the seed says which rows choose the weights: no weight has seen them


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to begin from.

    Attributes:
        tensors: of the model, by the names of its parameters and buffers.
        transform: from stored rows to what its likelihood scores.
        schema: what its data mean.
        plan: how it was fitted.
        recipe: that of the plan, if it is not one of `recipes.recipes()`.
        origin: where the weights come from, in plain values, for run.json and the report.
    """

    tensors: Mapping[str, Tensor]
    transform: Transform
    schema: Schema
    plan: Plan
    recipe: Recipe | None = None
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def give(self, model: LatentVariableModel) -> None:
        """Give a model these weights, and hold them fixed if it has others for categories that they do not know.

        Raises:
            ValueError: they are those of another model.
        """
        added = {name for name in model.state_dict() if name not in self.tensors and is_added(name)}
        try:
            model.load_state_dict({**self.tensors, **{name: model.state_dict()[name] for name in added}})
        except RuntimeError:
            raise ValueError(
                f"The weights of {self.name} do not fit this model; give the data, recipe and inference of theirs."
            ) from None
        if added:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and name in added)

    @property
    def reads(self) -> Schema:
        """The schema under which data of a new fit are read: batches that it does not know are added to it."""
        batch = batch_of(self.schema.covariates)
        read = [OpenCovariate.of(one) if one is batch else one for one in self.schema.covariates]
        return dataclasses.replace(self.schema, covariates=tuple(read))

    @property
    def name(self) -> str:
        """How sentences call where the weights come from."""
        return str(self.origin.get("run", "the fitted model"))


def plan_from(start: Start | None, dataset: Dataset, recipe: str | Recipe | None = None, **given: Any) -> Plan:
    """Plan a fit of the same model: its recipe, options and seed are those of the start, all else as `planning.plan`.

    Raises:
        ValueError: another recipe, option or transform is asked for, the model is solved without steps, or parts are to
            be frozen that no start has given weights.
    """
    if start is None:
        if given.get("freeze"):
            raise ValueError("freeze holds weights fixed and none are given; say with start_from where they come from.")
        return plan(dataset, recipe, **given)
    require_schema(start, dataset)
    source = start.plan
    own: dict[str, Any] = {}
    if isinstance(recipe, str):
        name, own = parse(recipe)
        recipe = name or None
    asked = recipe.name if isinstance(recipe, Recipe) else recipe
    if asked is not None and asked != source.recipe:
        raise ValueError(f"{start.name} holds a {source.recipe} and the recipe {asked} was given; leave it out.")
    if not source.steps:
        raise ValueError(f"The {source.recipe} of {start.name} is solved without steps; fit it to the data as it is.")
    said = {**own, **{name: value for name, value in given.items() if value is not None}}
    options = {name: value for name, value in source.model.items() if name not in OF_THE_DATA}
    kept = {**options, **{name: getattr(source, name) for name in _OF_THE_TRANSFORM}}
    for name in kept:
        if name in said and said[name] != kept[name]:
            raise ValueError(
                f"{start.name} has {name}={kept[name]!r} and {said[name]!r} was given; leave it out, or fit anew."
            )
    inherited = {name: getattr(source, name) for name in _INHERITED}
    found = plan(dataset, start.recipe or source.recipe, **{**options, **inherited, **said})
    reasons = {name: reason for name, reason in found.reasons.items() if name not in kept}
    return _with_added(found.replace(given=said, reasons=reasons), start, dataset)


def _with_added(found: Plan, start: Start, dataset: Dataset) -> Plan:
    """Weights for the batches that the start does not know, beside those that an earlier mapping added."""
    before = start.plan.model.get("num_added", 0)
    new = [name for one, known in _pairs(dataset.schema, start.schema) for name in (one.categories or ())[known:]]
    if not before + len(new):
        return found
    why = f"{', '.join(map(repr, new))} came after {start.name}, whose weights are held as they are"
    reasons = {**found.reasons, **({"num_added": why} if new else {})}
    return found.replace(model={**found.model, "num_added": before + len(new)}, reasons=reasons)


def _pairs(schema: Schema, known: Schema) -> list[tuple[Covariate, int]]:
    """Each covariate with the number of its categories that a start knows."""
    sizes = [len(one.categories or ()) for one in known.covariates]
    return list(zip(schema.covariates, sizes, strict=False))


def require_schema(start: Start, dataset: Dataset) -> None:
    """Refuse data that mean something else than those of the start.

    Raises:
        ValueError: naming what differs.
    """
    schema = dataset.schema
    if len(schema.covariates) == len(start.schema.covariates):  # new categories of the batch come after the known ones
        covariates = [one.with_first(known) for one, known in _pairs(schema, start.schema)]
        schema = dataclasses.replace(schema, covariates=tuple(covariates))
    ours, theirs = _meaning(schema), _meaning(start.schema)
    for name, value in theirs.items():
        if ours[name] != value:
            raise ValueError(f"{dataset.name} has another {name} than the data of {start.name}; give data like theirs.")


def freeze(model: LatentVariableModel, parts: Iterable[str]) -> None:
    """Hold the parameters of some parts fixed; one that two parts share is fixed with either.

    Arguments:
        model: the model.
        parts: of "prior", "likelihood" and "posterior".

    Raises:
        ValueError: a part without parameters, or nothing is left to learn.
    """
    chosen = list(parts)
    for part in chosen:
        module = getattr(model, part)
        parameters = list(module.parameters()) if isinstance(module, nn.Module) else []
        if not parameters:
            raise ValueError(f"freeze names the {part}, which has no parameters; leave it out.")
        for parameter in parameters:
            parameter.requires_grad_(False)
    if chosen and not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"freeze names {', '.join(chosen)}, and no parameter is left to learn; name fewer parts.")


def _meaning(schema: Schema) -> dict[str, Any]:
    """What must be the same of two schemas."""
    columns = schema.columns or ()
    return {
        "kind": schema.kind,
        "shape of a row": schema.event_shape,
        "set of columns": [(c.name, c.kind, c.categories) for c in columns],
        "set of classes": schema.classes,
        "number of pixel levels": schema.pixel_levels,
        "set of covariates": [(one.name, one.categories) for one in schema.covariates],
    }
