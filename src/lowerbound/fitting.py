"""From a data set and a few plain settings to everything that `loop.train` takes.

The command line and the estimators both come through here, so that they train in the same way; a run folder holds the
settings as JSON and comes through here again to resume.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lowerbound import baselines, gradients, likelihoods, losses, objectives, penalties
from lowerbound import inference as inferences
from lowerbound.checkpoint import Checkpoint
from lowerbound.data import (
    Dataset,
    Identity,
    InMemory,
    MemoryMapped,
    OnData,
    Source,
    Transform,
    applied,
    check_counts,
    check_unit_interval,
)
from lowerbound.data.classes import UNLABELLED, check_classes, num_classes, one_hot, only_some
from lowerbound.data.labelled import LabelledRows
from lowerbound.data.transform import Binarization
from lowerbound.engine import Device, Engine, Precision
from lowerbound.inference import with_inference
from lowerbound.loop import HeldOut, Record, held_out_terms, steps_for, train
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.nets.shapes import Shape
from lowerbound.protocols import Schedule
from lowerbound.randomness import derive_seed, forked
from lowerbound.recipes import BeforeTraining, make_model, recipe_named
from lowerbound.schedules import Constant, Cosine, Exponential
from lowerbound.spelling import build, choices, construct, find, parse
from lowerbound.support import LikelihoodFacts

__all__ = [
    "Problem",
    "Settings",
    "check_support",
    "fit",
    "make_transform",
    "prepare",
    "takes_gradient",
]

_REAL = (likelihoods.Normal, likelihoods.Laplace, likelihoods.StudentT)
_UNIT_INTERVAL = (
    likelihoods.Bernoulli,
    likelihoods.ContinuousBernoulli,
    likelihoods.Beta,
    likelihoods.DiscretizedLogistic,
    likelihoods.DiscretizedLogisticMixture,
)
_COUNTS = (
    likelihoods.Poisson,
    likelihoods.NegativeBinomial,
    likelihoods.ZeroInflatedPoisson,
    likelihoods.ZeroInflatedNegativeBinomial,
)
_CPU = torch.device("cpu")
_MOST_HELD_OUT, _ROWS_TO_INITIALIZE, _MOST_IN_MEMORY = 5000, 5000, 0.25
_BEGIN = 2  # tells the random numbers of a start from those of training


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides a fit, in plain values.

    Attributes:
        recipe: which of `recipes.RECIPES` makes the model.
        model: its keyword arguments, the event shape apart.
        objective: name of a class of `objectives`, with options.
        gradient: name of a class of `gradients`; its baseline, if it has one, by name of a class of `baselines`.
        penalty: name of a class of `penalties`, or None.
        loss: name of a class of `losses`.
        inference: name of a class of `inference`, or None for the encoder alone.
        num_samples: latents drawn per datum and step.
        binarization: of pixels; "auto" is dynamic for images under Bernoulli, none otherwise.
        standardize: whether columns of a table are brought to mean 0 and standard deviation 1 ("auto": unless
            Bernoulli).
        batch_size: rows per step.
        epochs: passes over the training rows; ignored if `steps` is given.
        steps: optimisation steps.
        lr: the learning rate at the start.
        lr_schedule: constant; cosine or exponential down to a hundredth.
        clip_norm: largest norm of the gradient.
        patience: evaluations of the held-out bound without improvement before stopping, one an epoch; None never stops.
        labelled: rows whose label training is told, under a recipe that learns from some labels; None tells all.
        seed: of everything random.
        device, precision, devices: see `Engine`.
        compile: see `train`.
    """

    recipe: str = "vae"
    model: dict[str, Any] = field(default_factory=dict)
    objective: str = "elbo"
    gradient: str = "pathwise"
    penalty: str | None = None
    loss: str = "variational"
    inference: str | None = None
    num_samples: int = 1
    binarization: Binarization | Literal["auto"] = "auto"
    standardize: bool | Literal["auto"] = "auto"
    batch_size: int = 128
    epochs: float = 100
    steps: int | None = None
    lr: float = 1e-3
    lr_schedule: Literal["constant", "cosine", "exponential"] = "cosine"
    clip_norm: float | None = None
    patience: int | None = None
    labelled: int | None = None
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "fp32"
    devices: int = 1
    compile: bool | Literal["auto"] = "auto"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a run folder."""
        return dataclasses.asdict(self)

    @property
    def likelihood(self) -> str:
        """The name of the likelihood as `spelling` spells it, without options."""
        return next(name for name, cls in choices(likelihoods).items() if cls is self.likelihood_class)

    @property
    def likelihood_class(self) -> type:
        """The class of the likelihood."""
        words = self.model.get("likelihood") or recipe_named(self.recipe).likelihood
        return find(likelihoods, parse(words)[0])

    def engine(self) -> Engine:
        """Where to compute."""
        return Engine(device=self.device, precision=self.precision, devices=self.devices)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A loss, its data, the number of steps, and what is done before the first."""

    loss: Loss
    transform: Transform
    source: Source
    held_out: Source
    num_steps: int
    start: BeforeTraining | None = None


def fit(
    problem: Problem, settings: Settings, engine: Engine, checkpoint: Checkpoint | None = None
) -> Generator[Record, None, None]:
    """Train, yielding a record at a time; at the end the loss has the weights with the best held-out bound.

    What is done before the first step is done again if training was stopped before its first checkpoint: it depends on
    the seed alone. A recipe that is then complete (`num_steps` 0) yields one record.
    """
    if problem.start is not None and not (checkpoint is not None and checkpoint.exists()):
        begin(problem, settings, engine)
    log_every = max(1, min(100, problem.num_steps // 20))
    an_epoch = steps_for(1, len(problem.source), settings.batch_size)
    held_out = HeldOut(source=problem.held_out, every=max(log_every, an_epoch), patience=settings.patience)
    if problem.num_steps == 0:
        yield _complete(problem, held_out, settings, engine)
        return
    yield from train(
        problem.loss,
        problem.source,
        num_steps=problem.num_steps,
        batch_size=settings.batch_size,
        lr=_schedule(settings, problem.num_steps),
        clip_norm=settings.clip_norm,
        seed=settings.seed,
        log_every=log_every,
        held_out=held_out,
        checkpoint=checkpoint,
        compile=settings.compile,
        engine=engine,
    )


def begin(problem: Problem, settings: Settings, engine: Engine) -> None:
    """What a recipe does before the first step, on training rows as the likelihood sees them."""
    assert problem.start is not None
    with forked(_CPU, settings.seed, _BEGIN):
        rows = torch.arange(len(problem.source))  # all: what is solved here is solved for the data, not for some of it
        x = torch.cat([transform_rows(problem.source, part)[0].to(_CPU) for part in rows.split(_ROWS_TO_INITIALIZE)])
        problem.start(problem.loss.to(_CPU), x, seed=settings.seed)
    problem.loss.to(engine.torch_device)


def _complete(problem: Problem, plan: HeldOut, settings: Settings, engine: Engine) -> Record:
    """The record of a fit without steps."""
    started = time.monotonic()
    problem.loss.to(engine.torch_device)
    terms = held_out_terms(problem.loss, plan, settings.seed, engine)
    seconds = time.monotonic() - started
    return Record(
        step=0,
        epoch=0.0,
        seconds=seconds,
        learning_rate=0.0,
        terms=terms,
        gradient_norm=0.0,
        held_out=terms,
        is_best=True,
    )


def prepare(dataset: Dataset, settings: Settings, engine: Engine) -> Problem:
    """Split off held-out rows, make the model and let it see some data, and check that everything goes together.

    Raises:
        ValueError: a name that is not known, data outside the likelihood's support, or choices that do not go together.
    """
    device, recipe = engine.torch_device, recipe_named(settings.recipe)
    check_support(dataset, settings.likelihood_class)
    transform = make_transform(dataset, settings)
    source, held_out = _split(dataset, transform, device, settings)
    with forked(_CPU, settings.seed):
        model = make_model(settings.recipe, dataset.event_shape, settings.model)
        some, *labels = transform_rows(source, torch.arange(min(len(source), _ROWS_TO_INITIALIZE)))
        model.initialize(some.to(_CPU))
        loss = _loss(settings, model, dataset.event_shape, len(source))
        loss.check(some[:2].to(_CPU), *(part[:2].to(_CPU) for part in labels[:1]))
    steps = steps_for(settings.epochs, len(source), settings.batch_size) if settings.steps is None else settings.steps
    return Problem(
        loss=loss, transform=transform, source=source, held_out=held_out, num_steps=steps, start=recipe.start
    )


def _loss(settings: Settings, model: LatentVariableModel, event_shape: Shape, num_data: int) -> Loss:
    """The loss that the settings describe; what a choice asks for by name it is given."""
    _refuse_unused(settings)
    given = _given(settings, event_shape, num_data)
    name, options = parse(settings.gradient)
    if isinstance(options.get("baseline"), str):
        options["baseline"] = construct(baselines, options["baseline"], **given)
    inference = None if settings.inference is None else construct(inferences, settings.inference, **given)
    return construct(
        losses,
        settings.loss,
        model=model,
        inference=inference,
        objective=construct(objectives, settings.objective, **given),
        gradient=build(gradients, name, options, **given),
        num_samples=settings.num_samples,
        penalty=None if settings.penalty is None else construct(penalties, settings.penalty, **given),
    )


def with_settings(model: LatentVariableModel, settings: Settings, event_shape: Shape) -> LatentVariableModel:
    """The model that infers as the settings say: what the loss has as its model."""
    if settings.inference is None:
        return model
    return with_inference(model, construct(inferences, settings.inference, **_given(settings, event_shape, 0)))


def _given(settings: Settings, event_shape: Shape, num_data: int) -> dict[str, Any]:
    """What a choice may ask for by the name of its argument."""
    return {"event_shape": event_shape, "num_data": num_data, "latent_dim": settings.model.get("latent_dim", 16)}


def takes_gradient(loss: str) -> bool:
    """Whether a loss, by its name, differentiates its objective by a gradient estimator of choice."""
    return "gradient" in _arguments_of(loss)


def _arguments_of(loss: str) -> set[str]:
    return set(inspect.signature(find(losses, parse(loss)[0])).parameters)


def _refuse_unused(settings: Settings) -> None:
    """A choice that the loss would not look at must not be made in vain."""
    for name in {"gradient", "penalty", "inference"} - _arguments_of(settings.loss):
        chosen = getattr(settings, name)
        if chosen != getattr(Settings, name):
            raise ValueError(
                f"The {settings.loss} loss takes no {name} and got {chosen!r}; "
                "leave it out, or use the variational loss."
            )


def make_transform(dataset: Dataset, settings: Settings) -> Transform:
    """From stored rows to what the likelihood scores."""
    facts = _facts_of(settings.likelihood_class)
    return dataset.kind_of_data.transform(
        dataset, facts, binarization=settings.binarization, standardize=settings.standardize
    )


def _facts_of(likelihood: type) -> LikelihoodFacts:
    discrete = likelihood is likelihoods.Bernoulli
    if likelihood in _UNIT_INTERVAL:
        return LikelihoodFacts(domain="unit interval", discrete=discrete)
    if likelihood in _COUNTS:
        return LikelihoodFacts(domain="counts", discrete=True)
    if likelihood is likelihoods.Categorical:
        return LikelihoodFacts(domain="classes", discrete=True)
    domain = "columns" if likelihood is likelihoods.Mixed else "reals"
    return LikelihoodFacts(domain=domain, discrete=False, standardized=likelihood in _REAL)


def check_support(dataset: Dataset, likelihood: type) -> None:
    """Refuse values to which a likelihood gives no probability.

    Raises:
        DataError: giving the values found.
    """
    for x in filter(len, (dataset.x_train, dataset.x_test)):
        if likelihood in _UNIT_INTERVAL:
            check_unit_interval(x, dataset.name)
        if likelihood in _COUNTS:
            check_counts(x, dataset.name)


def transform_rows(source: Source, rows: Tensor) -> tuple[Tensor, ...]:
    """Rows as the loss sees them."""
    return source.transform(*source.gather(rows))


def _split(dataset: Dataset, transform: Transform, device: torch.device, settings: Settings) -> tuple[Source, Source]:
    """Training rows and a tenth of them, at most 5,000, held out for the choice of weights."""
    rows = np.arange(dataset.num_train) if dataset.train_rows is None else dataset.train_rows
    if len(rows) < 2:
        raise ValueError(f"{dataset.name} has {len(rows)} training row and needs at least 2.")
    order = np.random.default_rng(derive_seed(settings.seed)).permutation(len(rows))
    count = min(max(1, len(rows) // 10), _MOST_HELD_OUT)
    parts = [np.sort(order[count:]), np.sort(order[:count])]
    labels = _labels(dataset, settings, parts)
    if dataset.train_rows is None and _fits(dataset.x_train, device):
        x = torch.from_numpy(np.require(dataset.x_train, requirements=["C", "W"]))
        if transform.deterministic and x.is_floating_point():
            x, transform = applied(transform, dataset.x_train), Identity()
        tensors = [(x[torch.from_numpy(part)], *of_part) for part, of_part in zip(parts, labels, strict=True)]
        sources: list[Source] = [InMemory(tensor, OnData(transform), device=device) for tensor in tensors]
        if recipe_named(settings.recipe).labels == "partial":
            rows_of_x, y = tensors[0]
            sources[0] = LabelledRows(rows_of_x, y, transform, device=device)
    elif recipe_named(settings.recipe).labels == "partial":
        raise ValueError(f"{settings.recipe} keeps its rows in memory and {dataset.name} is too large for it.")
    else:
        mapped = dataset.x_train
        sources = [
            MemoryMapped(mapped, OnData(transform), rows=rows[part], others=of_part, device=device)
            for part, of_part in zip(parts, labels, strict=True)
        ]
    return sources[0], sources[1]


def _labels(dataset: Dataset, settings: Settings, parts: list[np.ndarray]) -> list[tuple[Tensor, ...]]:
    """What the loss is given of the labels of the training and of the held-out rows, beside the data."""
    kind = recipe_named(settings.recipe).labels
    if settings.labelled is not None and kind != "partial":
        raise ValueError(f"The {settings.recipe} recipe does not learn from some labels; leave labelled out.")
    if kind == "unused":
        return [(), ()]
    partial = kind == "partial"
    count = settings.model.get("num_classes") or num_classes(dataset, some_unlabelled=partial)
    y = check_classes(dataset.y_train, count, dataset.name, some_unlabelled=partial)
    train, held_out = (y[part] for part in parts)
    if kind == "context":
        return [(one_hot(train, count),), (one_hot(held_out, count),)]
    if settings.labelled is not None:
        train = only_some(train, settings.labelled, derive_seed(settings.seed), dataset.name)
    return [(torch.from_numpy(train),), (torch.full((len(held_out),), UNLABELLED),)]


def _fits(x: np.ndarray, device: torch.device) -> bool:
    """Whether the rows may stay on the device: always on the CPU, where they are already; else in a quarter of it."""
    if device.type != "cuda":
        return True
    return x.nbytes <= _MOST_IN_MEMORY * torch.cuda.get_device_properties(device).total_memory


def _schedule(settings: Settings, num_steps: int) -> Schedule:
    lr = settings.lr
    if not lr > 0:
        raise ValueError(f"lr is {lr} and must be positive.")
    schedules: dict[str, Schedule] = {
        "constant": Constant(lr),
        "cosine": Cosine(lr, lr / 100, num_steps),
        "exponential": Exponential(lr, lr / 100, num_steps),
    }
    if settings.lr_schedule not in schedules:
        raise ValueError(f"lr_schedule is {settings.lr_schedule!r}; choose one of {', '.join(schedules)}.")
    return schedules[settings.lr_schedule]
