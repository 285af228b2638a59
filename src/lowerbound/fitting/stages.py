"""A fit: what a recipe does before the first step, its training, and what comes after it.

    start  →  training  →  finish: a second training of parts of the model, whose records go on from those of the first

Any of the three may be missing: a recipe that is solved by its start has no steps.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from inspect import signature

import torch

from lowerbound.data.memory import check_memory
from lowerbound.fitting.planning import Plan
from lowerbound.fitting.preparing import Training, transform_rows
from lowerbound.losses import Loss
from lowerbound.models.recipe import SecondStage, Stage
from lowerbound.protocols import Schedule
from lowerbound.randomness import forked
from lowerbound.schedules import Constant, Cosine, Exponential
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut, held_out_terms
from lowerbound.training.loop import steps_for, train
from lowerbound.training.record import Record

__all__ = ["finish_checkpoint", "fit"]

_CPU = torch.device("cpu")
_BLOCK, _ROWS_TO_START_FROM = 5000, 5000
_BEGIN, _FINISH = 2, 4  # tell the random numbers of a start and of a finish from those of training


def fit(
    training: Training, plan: Plan, engine: Engine, checkpoint: Checkpoint | None = None
) -> Generator[Record, None, None]:
    """Train, yielding a record at a time; at the end the loss has the weights with the best held-out bound.

    The start is repeated if training was stopped before its first checkpoint, because it depends on the seed alone. A
    recipe that is complete after its start (`num_steps` 0) yields one record. A finish has a checkpoint of its own
    beside the other.
    """
    note = None
    if training.start is not None and not (checkpoint is not None and checkpoint.exists()):
        note = _begin(training, plan, engine)
    if training.held_out is None:
        yield replace(_complete(training, plan, engine), note=note)
        return
    log_every = max(1, min(100, training.num_steps // 20))
    an_epoch = steps_for(1, len(training.source), plan.batch_size)
    held_out = HeldOut(source=training.held_out, every=max(log_every, an_epoch), patience=plan.patience)
    step, seconds = 0, 0.0
    first = _train(training.loss, training, held_out, training.num_steps, log_every, plan, engine, checkpoint)
    with closing(first):  # leaving early saves
        for record in first:
            step, seconds = record.step, record.seconds
            yield record
    if training.finish is None or not training.finish_epochs:
        return
    if checkpoint is not None and checkpoint.exists():  # if all of it was done before, there was no record
        step, seconds = (checkpoint.state()[name] for name in ("step", "seconds"))
    with closing(_finish(training, training.finish, plan, engine, checkpoint)) as second:
        for record in second:
            epoch = record.epoch + step * plan.batch_size / len(training.source)
            yield replace(record, step=step + record.step, epoch=epoch, seconds=seconds + record.seconds, stage=2)


def finish_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """That of the finish, beside that of the first training."""
    return replace(checkpoint, path=checkpoint.path.with_name(f"finish-{checkpoint.path.name}"))


def _finish(
    training: Training, finish: SecondStage, plan: Plan, engine: Engine, checkpoint: Checkpoint | None
) -> Generator[Record, None, None]:
    """The second training, with steps of its own."""
    device = engine.torch_device
    training.loss.eval()
    with forked(device, plan.seed, _FINISH):
        rows = torch.arange(min(len(training.source), _ROWS_TO_START_FROM))
        x = training.source.transform(*training.source.gather(rows))[0].to(device)
        stage: Stage = finish(training.loss, x, plan.model)
    steps = training.last_step(plan) - training.num_steps
    an_epoch = steps_for(1, len(training.source), plan.batch_size)
    assert training.held_out is not None
    file = None if checkpoint is None else finish_checkpoint(checkpoint)
    course = None if stage.course is None else stage.course(steps)
    begin = 0 if course is None else course.begin
    held_out = HeldOut(source=training.held_out, every=an_epoch, patience=stage.patience, patience_from=begin)
    records = _train(stage.loss, training, held_out, steps, min(100, an_epoch), plan, engine, file, course)
    told = [] if course is None else [course.told]
    if plan.compile is True and not stage.loss.compiles:
        told.append("Its steps differ in what they compute and are not compiled.")
    with closing(records):
        for record in records:
            yield replace(record, note=" ".join([*told, *filter(None, [record.note])]) or None)
            told = []
    stage.conclude()


def _train(
    loss: Loss,
    training: Training,
    held_out: HeldOut,
    num_steps: int,
    log_every: int,
    plan: Plan,
    engine: Engine,
    checkpoint: Checkpoint | None,
    schedule: Schedule | None = None,
) -> Generator[Record, None, None]:
    """The loop with the settings of a plan, and another schedule of the learning rate if one is given.

    Raises:
        NonFiniteError: with the rows of the user's data.
    """
    records = train(
        loss,
        training.source,
        num_steps=num_steps,
        batch_size=plan.batch_size,
        lr=schedule or _schedule(plan, num_steps),
        clip_norm=plan.clip_norm,
        optimizer=plan.optimizer,
        accumulate=plan.accumulate,
        ema=plan.ema,
        skip_above=plan.skip_above,
        seed=plan.seed,
        log_every=log_every,
        held_out=held_out,
        checkpoint=checkpoint,
        compile=plan.compile if loss.compiles else False,
        engine=engine,
        row_numbers=training.numbers,
    )
    with closing(records):
        yield from records


def _begin(training: Training, plan: Plan, engine: Engine) -> str | None:
    """The start of a recipe, on training rows as the likelihood sees them, and what it chose."""
    assert training.start is not None
    with forked(_CPU, plan.seed, _BEGIN):
        rows = torch.arange(len(training.source))  # all: what is solved here is solved for the data, not for some of it
        one = transform_rows(training.source, rows[:1])[0]
        check_memory((len(rows), *one.shape[1:]), 4, "the training part, all of which this recipe takes at once,")
        x = torch.cat([transform_rows(training.source, part)[0].to(_CPU) for part in rows.split(_BLOCK)])
        own = {"transform": training.transform} if "transform" in signature(training.start).parameters else {}
        found = training.start(training.loss.to(_CPU), x, seed=plan.seed, **own)
    training.loss.to(engine.torch_device)
    return found if isinstance(found, str) else None


def _complete(training: Training, plan: Plan, engine: Engine) -> Record:
    """The record of a fit without steps, with the terms of its training rows."""
    started = time.monotonic()
    training.loss.to(engine.torch_device)
    terms = held_out_terms(training.loss, HeldOut(source=training.source, every=1), plan.seed, engine)
    return Record(
        step=0,
        epoch=0.0,
        seconds=time.monotonic() - started,
        learning_rate=0.0,
        terms=terms,
        gradient_norm=0.0,
        is_best=True,
    )


def _schedule(plan: Plan, num_steps: int) -> Schedule:
    lr = plan.lr
    if not lr > 0:
        raise ValueError(f"lr is {lr} and must be positive.")
    match plan.lr_schedule:
        case "constant":
            return Constant(lr)
        case "cosine":
            return Cosine(lr, lr / 100, num_steps)
        case "exponential":
            return Exponential(lr, lr / 100, num_steps)
