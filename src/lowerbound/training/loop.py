"""The training loop: one copy, for every loss.

    for record in train(loss, source, num_steps=10_000):
        print(record.step, record.terms["bound"])

The body of the caller's `for` is the callback. The loop waits for the device only when it makes a record, every
`log_every` steps; then it checks that every number was finite, evaluates the held-out bound, and saves. Random numbers
depend on the seed and the step alone (see `randomness`), and checkpoints are made at records, so that a resumed run
gives exactly the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lowerbound.criterion import chooses, described
from lowerbound.data.feed import Data, feed_of, source_of
from lowerbound.data.numbered import Feed, Numbered
from lowerbound.data.source import InMemory, Source
from lowerbound.limits import MOST_STEPS
from lowerbound.loggers import ChosenLogger, recording
from lowerbound.losses.guards import batch_norms, to_training
from lowerbound.losses.loss import Loss
from lowerbound.optimizers import (
    Adam,
    MakeOptimizer,
    optimizer_of,
)
from lowerbound.protocols import Schedule
from lowerbound.randomness import forked
from lowerbound.row_numbers import numbered, rows_from
from lowerbound.schedules import Constant
from lowerbound.spelling import check_options
from lowerbound.support import require_support
from lowerbound.training.averaged import Averaged
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.compiling import AutoCompile, keep_graphs
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut
from lowerbound.training.history import NonFiniteError
from lowerbound.training.record import Record
from lowerbound.training.sharding import Shards, check_sharded
from lowerbound.training.skipping import Skipping
from lowerbound.training.starts import in_words
from lowerbound.training.steps import CompiledStep, EagerStep, TrainingStep, buffers_kept
from lowerbound.training.training_run import TrainingRun

__all__ = ["check_compiled", "check_patience", "steps_for", "train"]

_ROWS_AT_ONCE = 8192
_CANNOT_COMPILE = (
    "compile=True needs one process, fp32 or bf16, the default Adam, whole batches and rows with numbers; "
    "use compile='auto' for the rest."
)
_CHECKED = 3  # tells the random numbers of the check from those of training


def steps_for(epochs: float, num_rows: int, batch_size: int) -> int:
    """The steps that see `num_rows` rows `epochs` times.

    Raises:
        ValueError: epochs that are no finite positive number, or more than `limits.MOST_STEPS`.
    """
    if not 0 < epochs < math.inf:
        raise ValueError(f"epochs is {epochs} and must be a finite number above 0.")
    steps = epochs * num_rows / batch_size
    if steps > MOST_STEPS:
        raise ValueError(
            f"epochs={epochs:g} of {num_rows:,} rows are {steps:.3g} steps of {batch_size:,} rows and a plan has at "
            f"most {MOST_STEPS:,}, which take weeks; take fewer."
        )
    return max(1, math.ceil(steps))


def train(
    loss: nn.Module,
    data: Data,
    *,
    num_steps: int,
    batch_size: int | None = None,
    lr: float | Schedule = 1e-3,
    clip_norm: float | None = None,
    seed: int = 0,
    log_every: int = 100,
    held_out: HeldOut | None = None,
    checkpoint: Checkpoint | None = None,
    compile: bool | Literal["auto"] = "auto",
    optimizer: str | MakeOptimizer | None = None,
    accumulate: int = 1,
    ema: float | None = None,
    skip_above: float | None = None,
    engine: Engine | None = None,
    row_numbers: np.ndarray | None = None,
    logger: ChosenLogger = None,
) -> Generator[Record, None, None]:
    """Minimise a loss by stochastic gradients, yielding a `Record` every `log_every` steps.

    If `checkpoint` exists already, training continues from it. When the loop ends the loss has its best weights by the
    held-out bound, or its last weights without held-out data; with `ema` these are averages, and the body of the `for`
    sees the weights that are averaged. Leaving the caller's `for` early saves first.

    A `losses.Loss` is checked before the first step: on the first batch, whether its choices go together; and whether
    the rows lie in the support of the likelihood, all of them if they are tensors or arrays, else those of the first
    batch. Any other module is trained as it is.

    Arguments:
        loss: maps the tensors of a batch to a `losses.LossOutput`.
        data: tensors, numpy arrays or a tuple of them; a `data.Source`; a `torch.utils.data.Dataset`; or a DataLoader
            or another iterable of batches, from which training cannot be resumed. See `data.feed`.
        num_steps: optimisation steps in all; `steps_for` converts epochs.
        batch_size: rows per step, over all processes; 128 if None. A loader makes its batches itself.
        lr: learning rate, or a schedule of it.
        clip_norm: largest norm of the whole gradient; larger ones are scaled down after `backward`.
        seed: of the order of the rows and of every random number drawn in training.
        log_every: steps between records.
        held_out: data for the held-out bound, early stopping and the choice of the best weights.
        checkpoint: where to save and resume.
        compile: True to compile the step (one process, fp32 or bf16, the default Adam), launched on a GPU as one CUDA
            graph; "auto" decides on a CPU at the first record, by the time that steps take (`compiling`).
        optimizer: "adam" (the default), "adamw", "adamax", "sgd", one of `optimizers` with options, or a function that
            makes an optimiser from parameters. A group of it that has an `lr_factor`, or another lr than the
            optimiser, learns at that multiple of `lr`.
        accumulate: parts into which a batch is cut, for less memory: the gradient is that of the whole batch, except
            for terms that a loss computes from all rows at once (penalties, baselines) and for the drawn latents.
        ema: decay of an exponential moving average of the weights, which replaces the weights in evaluation, in the
            choice of the best and at the end; 0.999 is usual.
        skip_above: leaves out updates whose gradient norm is above this many times the median of the last hundred; see
            `skipping`. None leaves out none. Records count them.
        engine: device, precision and processes.
        row_numbers: of each row in the user's data (N,), for messages; None numbers rows from 0.
        logger: what takes each record too, in the first process: one of `loggers`, its name with options, or a
            function of a record.

    Raises:
        ValueError: arguments, choices or data that do not go together.
        NonFiniteError: a loss or gradient was NaN or infinite; raised at the end of its interval. The loss then has the
            best of the weights up to the record before, and the checkpoint is of that record.
        CheckpointError: the disk refused a checkpoint, or the one to resume from is unreadable.
    """
    _check_arguments(
        num_steps=num_steps, batch_size=batch_size, lr=lr, clip_norm=clip_norm, seed=seed, log_every=log_every,
        compile=compile, accumulate=accumulate, ema=ema, skip_above=skip_above,
    )  # fmt: skip
    _check_parts(held_out=(held_out, HeldOut), checkpoint=(checkpoint, Checkpoint), engine=(engine, Engine))
    engine = engine or Engine()
    if skip_above is not None and engine.precision == "fp16":
        raise ValueError("skip_above is for fp32 and bf16; fp16 has a gradient scaler that skips steps of its own.")
    _check(num_steps=num_steps, batch_size=1 if batch_size is None else batch_size, log_every=log_every)
    _check(accumulate=accumulate)
    device = engine.torch_device
    loss.to(device)
    feed = _feed(loss, data, batch_size, seed, engine, checkpoint)
    if held_out is not None:
        held_out = replace(held_out, source=source_of(held_out.source, loss, device))
    frozen = tuple(norm for norm in batch_norms(loss) if not norm.training)
    to_training(loss, frozen)
    _check_choices(loss, feed, seed, engine)
    if isinstance(feed, Numbered) and feed.source is not data:  # who makes a source checks its rows
        _check_rows(loss, feed.source, row_numbers, engine)
    if isinstance(loss, Loss) and held_out is not None:
        check_patience(loss, held_out.patience)
    skipping = None if skip_above is None else Skipping(skip_above, device)
    shards = _shards(loss, optimizer, engine)
    step, auto = _make_step(loss, feed, clip_norm, compile, optimizer, accumulate, engine, skipping, shards)
    run = TrainingRun(
        loss, step, Constant(lr) if isinstance(lr, int | float) else lr, feed, seed, engine, held_out, checkpoint
    )
    run.row_numbers = row_numbers
    run.averaged = None if ema is None else Averaged(loss, ema)
    run.skipping, run.auto, run.shards = skipping, auto, shards
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    run.keep()
    told = logger if engine.rank == 0 else None
    with recording(told) as log, closing(_records(run, num_steps, log_every)) as records:  # leaving early saves
        for record in records:
            log(record)
            yield record


def _records(run: TrainingRun, num_steps: int, log_every: int) -> Generator[Record, None, None]:
    """Train interval by interval, and save after each."""
    try:
        while run.step < num_steps and run.stopped is None:
            with run.working(run.engine.torch_device):
                run.advance(min(log_every, num_steps - run.step))
                run.choose_form(num_steps - run.step)
                record = run.conclude(last=run.step == num_steps)
            run.keep()
            yield record
            run.save(force=run.step == num_steps or run.stopped is not None)
    except GeneratorExit:
        run.save(force=True)
        run.give_back()
        raise
    except NonFiniteError as error:
        run.fall_back(error)
        raise
    finally:
        if isinstance(run.feed, Numbered):
            run.feed.close()
    run.finish()


def _feed(
    loss: nn.Module, data: Data, batch_size: int | None, seed: int, engine: Engine, checkpoint: Checkpoint | None
) -> Feed:
    """The batches of this process, which can be asked for again if there is a checkpoint."""
    place = {"rank": engine.rank, "world_size": engine.world_size, "device": engine.torch_device}
    feed = feed_of(data, loss, batch_size, seed, **place)
    if checkpoint is not None and not feed.resumable:
        raise ValueError(
            f"train got a checkpoint and a {type(data).__name__}, whose batches cannot be asked for again to resume; "
            "give its data set, tensors or a Source, or leave the checkpoint out."
        )
    return feed


def _check_arguments(**given: Any) -> None:
    """Refuse an argument of another type than its annotation says, and numbers by which nothing is learnt."""
    given = check_options("train", train, given)
    if isinstance(given["lr"], int | float) and given["lr"] < 0:
        raise ValueError(f"train got lr={given['lr']} and needs a finite number, 0 or more.")
    if given["clip_norm"] is not None and not given["clip_norm"] > 0:
        raise ValueError(f"train got clip_norm={given['clip_norm']} and needs a finite number above 0.")


def _check_parts(**given: tuple[Any, type]) -> None:
    """Refuse a part of another class."""
    for name, (value, kind) in given.items():
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"train got {name} of type {type(value).__name__} and expected {kind.__name__}.")


def _check(**positive: int) -> None:
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"train got {name}={value} and needs at least 1.")


def _check_choices(loss: nn.Module, feed: Feed, seed: int, engine: Engine) -> None:
    """Let a loss check its choices on the first batch, without any change of state."""
    if isinstance(loss, Loss):
        with forked(engine.torch_device, seed, engine.rank, 0, _CHECKED), buffers_kept(loss):
            loss.check(*feed.transform(*feed.batch(0))[:2])


def _check_rows(loss: nn.Module, source: Source, row_numbers: np.ndarray | None, engine: Engine) -> None:
    """Refuse rows in memory outside the support of the likelihood; those of a data set are read once, in training."""
    if not (isinstance(loss, Loss) and isinstance(source, InMemory)):
        return
    with forked(engine.torch_device), numbered(row_numbers), torch.no_grad():
        for start in range(0, len(source), _ROWS_AT_ONCE):
            with rows_from(start):
                x, *_ = source.transform(*(part[start : start + _ROWS_AT_ONCE] for part in source.tensors))
                require_support(loss.model.likelihood, x)


def check_patience(loss: Loss, patience: int | None) -> None:
    """Refuse to stop early by what bounds nothing.

    Raises:
        ValueError: the loss, which was checked, has an estimate in place of a bound, and there is a patience.
    """
    if patience is not None and not chooses(loss.criterion):
        raise ValueError(
            f"patience stops by a held-out bound, and the {described(loss.criterion)} of this loss is none; leave "
            "patience out, and say how long to train."
        )


def _shards(loss: nn.Module, optimizer: str | MakeOptimizer | None, engine: Engine) -> Shards | None:
    """The loss divided among the processes, where the engine says so."""
    if engine.strategy == "fsdp":
        check_sharded(loss, optimizer_of(optimizer))
    return Shards(loss, engine.torch_device) if engine.divides else None


def check_compiled(engine: Engine, optimizer: MakeOptimizer, accumulate: int) -> None:
    """Refuse compile=True where steps so taken are not one graph, whatever the rows are.

    Raises:
        ValueError: several processes, another precision or optimiser, or parts of batches.
    """
    if not _can_be_one_graph(engine, optimizer, accumulate):
        raise ValueError(_CANNOT_COMPILE)


def _can_be_one_graph(engine: Engine, optimizer: MakeOptimizer, accumulate: int) -> bool:
    is_scaled = engine.precision == "fp16"
    return not is_scaled and engine.world_size == 1 and optimizer == Adam() and accumulate == 1


def _make_step(
    loss: nn.Module,
    feed: Feed,
    clip_norm: float | None,
    compile: bool | Literal["auto"],
    optimizer: str | MakeOptimizer | None,
    accumulate: int,
    engine: Engine,
    skipping: Skipping | None,
    shards: Shards | None,
) -> tuple[TrainingStep, AutoCompile | None]:
    """The step that a run begins with, and who decides whether it is compiled later, if that is open."""
    chosen = optimizer_of(optimizer)
    able = _can_be_one_graph(engine, chosen, accumulate) and feed.resumable
    if compile is True and not able:
        raise ValueError(_CANNOT_COMPILE)

    def compiled() -> CompiledStep:
        return CompiledStep(loss, feed.transform, clip_norm, skipping, low=engine.precision == "bf16")

    if compile is True:
        keep_graphs()
        step = compiled()
        step.prepare(feed.batch(0))
        return step, None
    eager = EagerStep(loss, feed.transform, engine, chosen, clip_norm, accumulate, skipping, shards)
    is_open = compile == "auto" and able and engine.accelerator == "cpu" and getattr(loss, "compiles", True)

    def what() -> str:
        return repr((in_words(loss), engine.precision, clip_norm, skipping is None, torch.get_num_threads()))

    return eager, AutoCompile(compiled, what) if is_open else None
