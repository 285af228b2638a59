"""One plan: every default and every "auto" of a fit, resolved once.

    plan(dataset, recipe, **given)  →  Plan  →  fitting  →  a fitted model

The command, the estimators and the scripts all call `plan`, so that the same data gives the same model from each of
them. Values that the user gave are kept, after a check against the annotations of the function that takes them. All
others are decided here, from the recipe and from the data, and the reasons are kept. A run folder holds the whole plan,
so that no default is looked up when the folder is opened.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch

from lowerbound import losses, objectives
from lowerbound.data import Dataset
from lowerbound.data.block_pictures import numbered_pictures
from lowerbound.data.column_blocks import numbered_blocks
from lowerbound.data.covariates import words_of
from lowerbound.data.log_columns import log_columns
from lowerbound.data.transform import Binarization
from lowerbound.fitting.answered_by_data import answered_by
from lowerbound.fitting.defaults import Decision, decide, decide_recipe, training_rows
from lowerbound.fitting.from_data import completed
from lowerbound.fitting.plan_size import StepSize, check_model
from lowerbound.limits import MOST_STEPS, require_at_most
from lowerbound.models.recipe import OF_THE_DATA, Recipe
from lowerbound.randomness import forked
from lowerbound.recipes import recipe_named
from lowerbound.spelling import check_options, find, parse, spelled
from lowerbound.training.engine import Device, Engine, Precision, Strategy
from lowerbound.weights import closed_form_rate

__all__ = ["Part", "Plan", "check_plan", "plan"]

Part: TypeAlias = Literal["prior", "likelihood", "posterior"]

_OF_TRAINING = (
    "objective", "gradient", "penalty", "loss", "inference", "num_samples", "batch_size", "lr", "lr_schedule",
    "optimizer", "accumulate", "ema", "clip_norm", "skip_above", "patience", "freeze", "compile",
)  # fmt: skip
_NOT_GIVEN = ("recipe", "model", "given", "reasons")
_EITHER = ("epochs",)  # turned into steps
_LEAST = {
    "num_samples": 1,
    "batch_size": 1,
    "steps": 0,  # of what is solved exactly
    "accumulate": 1,
    "patience": 1,
    "labelled": 1,
    "seed": 0,
    "devices": 1,
}
_MOST_PASSES = 100  # over the data in one step


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides a fit, in plain values.

    Attributes:
        recipe: which of `recipes` makes the model.
        model: all keyword arguments of that function except the event shape.
        objective: name of a class of `objectives`, with options.
        gradient: name of a class of `gradients`; its baseline, if it has one, by name of a class of `baselines`.
        penalty: name of a class of `penalties`, or None.
        loss: name of a class of `losses`.
        inference: name of a class of `inference`, or None for the encoder alone.
        num_samples: latents drawn per datum and step.
        binarization: how grey pixels become 0 or 1 under a Bernoulli likelihood: "dynamic" draws them anew at each
            visit.
        standardize: whether columns of a table are brought to mean 0 and standard deviation 1.
        log_columns: columns of a table that are modelled by their logarithm (`data.log_columns`).
        batch_size: rows per step, at most 100 times the training rows.
        steps: optimisation steps, at most `limits.MOST_STEPS`.
        lr: the learning rate at the start.
        lr_schedule: constant, or falling to a hundredth: cosine or exponential.
        optimizer: name of a class of `optimizers`, with options.
        accumulate: parts into which a batch is cut, for less memory.
        ema: decay of an exponential moving average of the weights, which replaces the last weights at the end; or None.
        clip_norm: largest norm of the gradient, or None.
        skip_above: leaves out updates whose gradient norm is above this many times the usual one (`skipping`), or None.
        patience: evaluations of the held-out bound without improvement before stopping, one an epoch; None never stops.
        labelled: how many rows keep their label, under a recipe that learns from some labels; None keeps all.
        freeze: parts whose parameters stay as a start gave them.
        seed: of everything random.
        device, devices, strategy: see `Engine`; "auto" depends on the machine and is decided when training starts.
        precision: see `Engine`; what `low_precision` says where nothing or "auto" was given.
        compile: see `loop.train`.
        given: the values that the user gave, by name; all others were decided.
        reasons: the reasons of the other values, by name.
    """

    recipe: str
    model: dict[str, Any]
    objective: str
    gradient: str
    penalty: str | None = None
    loss: str = "variational"
    inference: str | None = None
    num_samples: int
    binarization: Binarization = "none"
    standardize: bool = False
    log_columns: tuple[str, ...] = ()
    batch_size: int
    steps: int
    lr: float
    lr_schedule: Literal["constant", "cosine", "exponential"]
    optimizer: str = "adam"
    accumulate: int = 1
    ema: float | None = None
    clip_norm: float | None = None
    skip_above: float | None = None
    patience: int | None = None
    labelled: int | None = None
    freeze: tuple[Part, ...] = ()
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "fp32"
    devices: int = 1
    strategy: Strategy = "ddp"
    compile: bool | Literal["auto"] = "auto"
    given: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a run folder; a part given as a Python object is written as its class name."""
        content = dataclasses.asdict(dataclasses.replace(self, model={}, given={}))
        parts = {part: {k: _plain(v) for k, v in getattr(self, part).items()} for part in ("model", "given")}
        return {**content, **parts}

    def in_use(self) -> dict[str, Any]:
        """The same, without the settings of training where there is none."""
        content = self.to_json()
        return content if self.steps else {name: content[name] for name in content if name not in _OF_TRAINING}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        """From what `to_json` gave.

        Raises:
            ValueError: a setting of a newer version, a missing one, or one of another type.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise ValueError(f"The plan has the setting {unknown[0]!r}, which this version does not know; update it.")
        needed = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]
        missing = [name for name in needed if name not in content]
        if missing:
            raise ValueError(f"The plan has no {missing[0]!r}; run.json was altered or cut short.")
        _check_settings(content)
        checked = check_options("The plan", cls, content)
        strange = sorted(set(checked.get("reasons", {})) - known - set(checked["model"]))
        if strange:
            raise ValueError(f"The plan has a reason for {strange[0][:40]!r}, no setting of it; run.json was altered.")
        return cls(**checked)

    @property
    def is_python(self) -> bool:
        """Whether a part of the model was given as a Python object, which no folder can hold."""
        return any(not _is_plain(value) for value in self.model.values())

    def engine(self) -> Engine:
        """Where to compute."""
        return Engine(device=self.device, precision=self.precision, devices=self.devices, strategy=self.strategy)

    def replace(self, **changes: Any) -> Plan:
        """The same plan with some values changed."""
        return dataclasses.replace(self, **changes)


def plan(dataset: Dataset, recipe: str | Recipe | None = None, **given: Any) -> Plan:
    """Resolve everything that decides a fit of some data.

    Arguments:
        dataset: the data, with their schema.
        recipe: name of a recipe, with options ("vade:clusters=12"), or a `Recipe`; None for what suits the data.
        given: settings by the names of `Plan`, options of the recipe, and `epochs` in place of `steps`. None leaves a
            setting open.

    Raises:
        ValueError: an unknown name, a value of the wrong type, or settings that do not go together.

    >>> from lowerbound.data import load
    >>> plan(load("digits"), latent_dim=8, steps=100).model["likelihood"]
    'bernoulli'
    """
    chosen = decide_recipe(dataset, given) if recipe is None else Decision(recipe)
    made, own = _recipe(chosen.value)
    left_open = {"precision": "auto"}
    values = {**own, **{n: value for n, value in given.items() if value is not None and value != left_open.get(n)}}
    if isinstance(values.get("likelihood"), str):
        values["likelihood"] = completed(values["likelihood"], dataset)
    if values.get("missingness") is not None:
        _require_gaps(dataset)
    if "blocks" in made.options and isinstance(values.get("blocks"), str | None):
        values["blocks"] = numbered_blocks(dataset, values.get("blocks"))
    if isinstance(values.get("pictures"), str) and isinstance(values.get("blocks"), str):
        values["pictures"] = numbered_pictures(dataset, values["pictures"], values["blocks"])
    if "log_columns" in values:
        values["log_columns"] = log_columns(dataset, values["log_columns"])
    _refuse_unknown(made, values, asked=recipe is not None)
    if "epochs" in values and "steps" in values:
        raise ValueError("epochs and steps both say how long to train; give one of them.")
    _check_settings(values)
    model = check_options(f"The {made.name} recipe", made.make, {k: v for k, v in values.items() if k in made.options})
    settings = {name: value for name, value in values.items() if name not in made.options}
    needed = answered_by(dataset, made, model)
    decisions = decide(dataset, made, {**model, **settings})
    decided_model = {name: decisions[name].value for name in made.options if name in decisions and name not in model}
    decided_model = check_options(f"The {made.name} recipe", made.make, decided_model)
    decided = {name: d.value for name, d in decisions.items() if name in _settings() and name not in made.options}
    reasons = {name: d.reason for name, d in {"recipe": chosen, **decisions}.items() if d.reason and name not in values}
    if needed.get("covariate_sizes"):
        reasons["covariate_sizes"] = ", ".join(map(words_of, dataset.schema.covariates))
    if "unknown_class" in needed and dataset.schema.classes:
        word = dataset.schema.classes[needed["unknown_class"]]
        reasons["unknown_class"] = f"{word!r} stands for no label"
    found = Plan.from_json(
        {
            **decided,
            **{name: value for name, value in settings.items() if name not in _EITHER},
            "recipe": made.name,
            "model": {**decided_model, **model, **needed},
            "given": values,
            "reasons": reasons,
        }
    )
    _check_batch(found.batch_size, training_rows(dataset))
    check_plan(found, made, dataset.event_shape)
    return _with_closed_rate(found, made, dataset.event_shape)


def _check_batch(batch_size: int, num_rows: int) -> None:
    """Refuse a batch that takes each row over and over: a step of it says no more than a smaller one.

    Raises:
        ValueError: with the largest batch of these data.
    """
    if batch_size > _MOST_PASSES * num_rows:
        raise ValueError(
            f"The plan got batch_size={batch_size:,} of {num_rows:,} training rows, each of which a step takes at most "
            f"{_MOST_PASSES} times; take at most {_MOST_PASSES * num_rows:,}."
        )


def check_plan(found: Plan, recipe: Recipe, event_shape: tuple[int, ...]) -> None:
    """Refuse a plan that memory cannot hold, before any is asked for.

    Raises:
        ValueError: with the bytes that it needs at least and those that are free.
    """
    rows = -(-found.batch_size // found.accumulate)
    step = StepSize(rows=rows, num_samples=found.num_samples, solved=not found.steps)
    check_model(recipe, found.model, event_shape, step)


def _with_closed_rate(found: Plan, recipe: Recipe, event_shape: tuple[int, ...]) -> Plan:
    """Choose the ELBO with KL(q ‖ p) in closed form where the pair has one and the user did not say: the same bound
    with less noise.
    """
    name, options = parse(found.objective)
    if find(objectives, name) is not objectives.ELBO or "rate" in options or not found.steps:
        return found
    if find(losses, parse(found.loss)[0]) is not losses.VariationalLoss or found.gradient != "pathwise":
        return found
    with torch.no_grad(), forked(torch.device("cpu"), found.seed):
        model = recipe.model(event_shape, found.model)
        try:
            q, p = model.infer(torch.ones(1, *event_shape)), model.prior(None)
            form = closed_form_rate(q, p, q.sample(torch.Size((1,))))
        except (TypeError, ValueError, NotImplementedError, RuntimeError):  # a model of its own kind: conditional, …
            return found
    if form != "kl":
        return found
    known = (found.reasons.get("objective"), "KL(q ‖ p) has a closed form")
    reasons = {**found.reasons, "objective": ", and ".join(reason for reason in known if reason)}
    return found.replace(objective=spelled("elbo", {**options, "rate": "kl"}), reasons=reasons)


def _recipe(recipe: str | Recipe) -> tuple[Recipe, dict[str, Any]]:
    """The recipe, and the options written after its name."""
    if isinstance(recipe, Recipe):
        return recipe, {}
    if not isinstance(recipe, str):
        raise ValueError(f"The recipe is of type {type(recipe).__name__}; give the name of one, or a Recipe.")
    name, own = parse(recipe)
    made = recipe_named(name)
    check_options(
        f"The {made.name} recipe", made.make, own, without={"event_shape": None, **dict.fromkeys(OF_THE_DATA)}
    )
    return made, own


@dataclass(frozen=True)
class _Epochs:
    """What `epochs` must be, which a plan holds as steps."""

    epochs: float


def _check_settings(values: Mapping[str, Any]) -> None:
    """Refuse words and numbers that no fit can have, before others are decided from them.

    Raises:
        ValueError: one of another type, or out of its range.
    """
    for name, least in _LEAST.items():
        if values.get(name) is not None:
            number = check_options("The plan", Plan, {name: values[name]})[name]
            if number < least:
                raise ValueError(f"The plan got {name}={number} and needs at least {least}.")
            if name == "steps":
                require_at_most("The plan", MOST_STEPS, steps=number)
    for name in ("objective", "gradient", "penalty", "loss", "inference", "optimizer"):
        if values.get(name) is not None:
            check_options("The plan", Plan, {name: values[name]})
    if values.get("skip_above") is not None:
        above = check_options("The plan", Plan, {"skip_above": values["skip_above"]})["skip_above"]
        if not above > 1:
            raise ValueError(f"The plan got skip_above={above:g} and needs a number above 1, such as 10.")
    for name in ("lr", "clip_norm", "epochs"):
        if values.get(name) is not None:
            number = check_options("The plan", _Epochs if name == "epochs" else Plan, {name: values[name]})[name]
            if not number > 0:
                raise ValueError(f"The plan got {name}={number:g} and needs a finite number above 0.")


def _require_gaps(dataset: Dataset) -> None:
    """Refuse a missingness of data in which nothing is missing.

    Raises:
        ValueError: saying so.
    """
    if not any(column.missing for column in dataset.schema.columns or ()):
        raise ValueError(
            f"missingness is of tables with gaps, and {dataset.name} has no column with gaps; leave missingness out."
        )


def _settings() -> set[str]:
    return {f.name for f in dataclasses.fields(Plan)} - set(_NOT_GIVEN)


def _refuse_unknown(recipe: Recipe, values: Mapping[str, Any], *, asked: bool) -> None:
    """Refuse a name that no part of the fit would use.

    Arguments:
        recipe: whose options are known.
        values: by name.
        asked: whether the user named the recipe; else the message does not speak of it.
    """
    known = {*recipe.options, *_settings(), *_EITHER}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
            what = f"The {recipe.name} recipe has no option" if asked else "A fit has no setting"
            raise ValueError(f"{what} {name[:40]!r}; it has {', '.join(near or recipe.options)}.")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, str | int | float | bool)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if _is_plain(value) else {"python": type(value).__name__}
