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
import time
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lowerbound.averaged import Averaged
from lowerbound.checkpoint import BestWeights, Checkpoint, CheckpointError
from lowerbound.data.feed import Data, Feed, Numbered, feed_of, source_of
from lowerbound.engine import Engine
from lowerbound.held_out import HeldOut, held_out_terms
from lowerbound.history import History, NonFiniteError
from lowerbound.last_good import LastGood
from lowerbound.limits import MOST_STEPS
from lowerbound.losses.loss import Loss
from lowerbound.optimizers import (
    Adam,
    MakeOptimizer,
    OptimizerName,
    load_optimizer_tensors,
    optimizer_of,
    optimizer_tensors,
)
from lowerbound.protocols import FollowsSteps, Schedule
from lowerbound.randomness import forked
from lowerbound.schedules import Constant
from lowerbound.spelling import check_options
from lowerbound.steps import CannotCompile, CompiledStep, EagerStep, TrainingStep, buffers_kept
from lowerbound.support import Support
from lowerbound.tuning import cpu_tuning
from lowerbound.typed import WrongType, as_annotated

__all__ = ["HeldOut", "Record", "held_out_terms", "steps_for", "train"]

_CHECKED = 3  # tells the random numbers of the check from those of training
_NUMBERS: dict[str, Any] = {
    "step": int,
    "seconds": float,
    "stopped": str | None,
    "evaluated_at": int,
    "evaluations_since_best": int,
    "best_bound": float | None,
    "scaler": Mapping | None,
}
COMPILE_ABOVE = 20_000
"""Steps from which `compile="auto"` compiles: a graph takes seconds to build and saves part of a millisecond a step."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The results of a logging interval.

    Attributes:
        step: optimisation steps taken so far.
        epoch: passes over the data so far.
        seconds: time spent training so far, evaluation and earlier parts of a resumed run included.
        learning_rate: of the last step.
        terms: mean over the interval of each term of the loss; `bound` and its parts are nats per datum.
        gradient_norm: mean over the interval of the norm of the whole gradient, before clipping.
        held_out: the terms on held-out data, if evaluated here.
        is_best: whether the held-out bound is the best so far.
        stopped: why training ends here before its last step, or None.
    """

    step: int
    epoch: float
    seconds: float
    learning_rate: float
    terms: dict[str, float]
    gradient_norm: float
    held_out: dict[str, float] | None = None
    is_best: bool = False
    stopped: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


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
    optimizer: OptimizerName | MakeOptimizer | None = None,
    accumulate: int = 1,
    ema: float | None = None,
    engine: Engine | None = None,
) -> Generator[Record, None, None]:
    """Minimise a loss by stochastic gradients, yielding a `Record` every `log_every` steps.

    If `checkpoint` exists already, training continues from it. When the loop ends the loss has its best weights by the
    held-out bound, or its last weights without held-out data; with `ema` these are averages, and the body of the `for`
    sees the weights that are averaged. Leaving the caller's `for` early saves first.

    A `losses.Loss` is checked on the first batch, before the first step: whether its choices go together, and whether
    the data lie in the support of the likelihood. Any other module is trained as it is.

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
        compile: True to compile the step (one process, fp32, the default Adam); "auto" does so from 20,000 steps on a
            CPU.
        optimizer: "adam" (the default), "adamw", "adamax", "sgd", one of `optimizers` with options, or a function that
            makes an optimiser from parameters. A group of it that has an `lr_factor` learns at that multiple of `lr`.
        accumulate: parts into which a batch is cut, for less memory: the gradient is that of the whole batch, except
            for terms that a loss computes from all rows at once (penalties, baselines) and for the drawn latents.
        ema: decay of an exponential moving average of the weights, which replaces the weights in evaluation, in the
            choice of the best and at the end; 0.999 is usual.
        engine: device, precision and processes.

    Raises:
        ValueError: arguments, choices or data that do not go together.
        NonFiniteError: a loss or gradient was NaN or infinite; raised at the end of its interval. The loss then has the
            best of the weights up to the record before, and the checkpoint is of that record.
        CheckpointError: the disk refused a checkpoint, or the one to resume from is unreadable.
    """
    _check_arguments(
        num_steps=num_steps, batch_size=batch_size, lr=lr, clip_norm=clip_norm, seed=seed, log_every=log_every,
        compile=compile, accumulate=accumulate, ema=ema,
    )  # fmt: skip
    for name, value, kind in (
        ("held_out", held_out, HeldOut),
        ("checkpoint", checkpoint, Checkpoint),
        ("engine", engine, Engine),
    ):
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"train got {name} of type {type(value).__name__} and expected {kind.__name__}.")
    engine = engine or Engine()
    _check(num_steps=num_steps, batch_size=1 if batch_size is None else batch_size, log_every=log_every)
    _check(accumulate=accumulate)
    device = engine.torch_device
    loss.to(device)
    place = {"rank": engine.rank, "world_size": engine.world_size, "device": device}
    feed = feed_of(data, loss, batch_size, seed, **place)
    if checkpoint is not None and not feed.resumable:
        raise ValueError(
            f"train got a checkpoint and a {type(data).__name__}, whose batches cannot be asked for again to resume; "
            "give its data set, tensors or a Source, or leave the checkpoint out."
        )
    if held_out is not None:
        held_out = replace(held_out, source=source_of(held_out.source, loss, device))
    _check_choices(loss, feed, seed, engine)
    step = _make_step(loss, feed, clip_norm, compile, num_steps, optimizer, accumulate, engine)
    run = _Run(
        loss, step, Constant(lr) if isinstance(lr, int | float) else lr, feed, seed, engine, held_out, checkpoint
    )
    run.averaged = None if ema is None else Averaged(loss, ema)
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    run.keep()
    try:
        while run.step < num_steps and run.stopped is None:
            with run.working(device):
                run.advance(min(log_every, num_steps - run.step))
                record = run.conclude(last=run.step == num_steps)
            run.keep()
            yield record
            run.save(force=run.step == num_steps or run.stopped is not None)
    except GeneratorExit:
        run.save(force=True)
        raise
    except NonFiniteError as error:
        run.fall_back(error)
        raise
    run.finish()


class _Run:
    """The state of a training run between two records."""

    def __init__(
        self,
        loss: nn.Module,
        step: TrainingStep,
        schedule: Schedule,
        feed: Feed,
        seed: int,
        engine: Engine,
        held_out: HeldOut | None,
        checkpoint: Checkpoint | None,
    ):
        self.loss, self.step_once, self.schedule, self.feed = loss, step, schedule, feed
        self.seed, self.engine, self.held_out, self.checkpoint = seed, engine, held_out, checkpoint
        self.followers = [part for part in loss.modules() if isinstance(part, FollowsSteps)]
        self.best, self.good = BestWeights(loss), LastGood()
        self.averaged: Averaged | None = None
        self.history: History | None = None
        self.step = self.evaluations_since_best = self.evaluated_at = 0
        self.seconds, self.stopped = 0.0, None
        self._saved_at = self._started = time.monotonic()

    @contextmanager
    def working(self, device: torch.device) -> Iterator[None]:
        """Set the random numbers of this interval, tune the process, and run the clock."""
        self._started = time.monotonic()
        with cpu_tuning(device), forked(device, self.seed, self.engine.rank, self.step):
            yield

    def advance(self, num_steps: int) -> None:
        """Take some steps without waiting for the device."""
        self.loss.train()
        first = self.step
        for i in range(first, first + num_steps):
            for part in self.followers:
                part.at_step(i)
            row = self.step_once(self.feed.batch(i), self.schedule(i))
            if self.averaged is not None:
                self.averaged.update(i, row[len(self.step_once.terms) :].isfinite().all())
            if self.history is None or len(self.history.rows) < num_steps:
                self.history = History(self.step_once.terms, self.step_once.parameters, num_steps, row.device)
            if i == first:
                self.history.begin(first)
            self.history.write(row)
        self.step += num_steps

    def conclude(self, *, last: bool) -> Record:
        """Read the interval, evaluate if it is time, decide whether to stop."""
        assert self.history is not None
        scaled = self.engine.precision == "fp16"
        try:
            terms, norm = self.history.read(self.engine.mean, gradients_may_overflow=scaled)
            _require_finite_parameters(self.loss, self.step)
        except NonFiniteError as error:
            raise _with_rows(error, self.loss, self.feed, kept=self.good.numbers["step"]) from None
        held_out, is_best = self._evaluate(last=last)
        return Record(
            step=self.step,
            epoch=self.feed.epoch_of(self.step),
            seconds=self._count_seconds(),
            learning_rate=self.schedule(self.step - 1),
            terms=terms,
            gradient_norm=norm,
            held_out=held_out,
            is_best=is_best,
            stopped=self.stopped,
        )

    def _count_seconds(self) -> float:
        now = time.monotonic()
        self.seconds, self._started = self.seconds + now - self._started, now
        return self.seconds

    def _evaluate(self, *, last: bool) -> tuple[dict[str, float] | None, bool]:
        plan = self.held_out
        if plan is None or not (last or self.step // plan.every > self.evaluated_at // plan.every):
            return None, False
        self.evaluated_at = self.step
        with nullcontext() if self.averaged is None else self.averaged.in_place():
            terms = held_out_terms(self.loss, plan, self.seed, self.engine)
            is_best = self.best.offer(terms["bound"])
        self.evaluations_since_best = 0 if is_best else self.evaluations_since_best + 1
        if plan.patience is not None and self.evaluations_since_best >= plan.patience and not last:
            self.stopped = f"no better held-out bound in {plan.patience} evaluations"
        return terms, is_best

    def finish(self) -> None:
        """Give the loss the best weights, or the averages if nothing was evaluated."""
        if self.averaged is not None:
            self.averaged.restore()
        self.best.restore()

    def save(self, *, force: bool) -> None:
        """Write a checkpoint if one is wanted and due."""
        plan = self.checkpoint
        if plan is None or self.engine.rank != 0 or not (force or time.monotonic() - self._saved_at >= plan.every):
            return
        self._write(plan, self._groups(), self._numbers())
        self._saved_at = time.monotonic()

    def keep(self) -> None:
        """Remember this record, in which every number was finite."""
        self.good.keep(self._groups(), self._numbers())

    def fall_back(self, error: NonFiniteError) -> None:
        """Go back to the record before the bad number, save it with the reason, and give the loss its best weights."""
        self.loss.load_state_dict(self.good.groups["loss"])
        if self.averaged is not None:
            self.averaged.load(self.good.groups["average"])
        if self.checkpoint is not None and self.engine.rank == 0:
            failure = {"step": error.step, "what": error.what}
            self._write(self.checkpoint, self.good.groups, {**self.good.numbers, "failure": failure})
        self.finish()

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        """The tensors that change with every step."""
        groups = {"loss": self.loss.state_dict(), "optimizer": optimizer_tensors(self.step_once.optimizer)}
        if self.averaged is not None:
            groups["average"] = self.averaged.tensors
        return groups

    def _write(self, plan: Checkpoint, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        best = {"best": self.best.tensors} if math.isfinite(self.best.bound) else {}
        plan.save({**groups, **best}, numbers)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Load everything that `save` wrote."""
        groups, numbers = checkpoint.load()
        _check_numbers(numbers, checkpoint)
        failure = numbers.get("failure")
        if isinstance(failure, Mapping):
            raise CheckpointError(
                f"Training failed and would fail again ({failure.get('what')}); change a setting, such as lr."
            )
        if (self.averaged is None) != ("average" not in groups):
            has, without = ("no", "without") if self.averaged is not None else ("an", "with")
            raise CheckpointError(
                f"{checkpoint.path} holds {has} average of the weights; train {without} ema, or anew."
            )
        try:
            _check_shapes(groups.get("best", {}), self.best.tensors)
            self.loss.load_state_dict(groups["loss"])
            load_optimizer_tensors(self.step_once.optimizer, groups.get("optimizer", {}))
            if self.averaged is not None:
                self.averaged.load(groups["average"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{checkpoint.path} is a checkpoint of another model; give the loss it was made with, or another path."
            ) from error
        self.best.tensors.update(groups.get("best", {}))
        self.best.bound = numbers["best_bound"] if numbers["best_bound"] is not None else float("-inf")
        self.step, self.seconds, self.stopped = numbers["step"], numbers["seconds"], numbers["stopped"]
        self.evaluated_at, self.evaluations_since_best = numbers["evaluated_at"], numbers["evaluations_since_best"]
        if numbers["scaler"] is not None:
            _scaler(self.engine).load_state_dict(numbers["scaler"])

    def _numbers(self) -> dict[str, Any]:
        scaler = _scaler(self.engine)
        return {
            "step": self.step,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "evaluated_at": self.evaluated_at,
            "evaluations_since_best": self.evaluations_since_best,
            "best_bound": self.best.bound if math.isfinite(self.best.bound) else None,
            "scaler": None if scaler is None else scaler.state_dict(),
            "failure": None,
        }


def _check_arguments(**given: Any) -> None:
    """Refuse an argument of another type than its annotation says, and numbers by which nothing is learnt."""
    given = check_options("train", train, given)
    if isinstance(given["lr"], int | float) and given["lr"] < 0:
        raise ValueError(f"train got lr={given['lr']} and needs a finite number, 0 or more.")
    if given["clip_norm"] is not None and not given["clip_norm"] > 0:
        raise ValueError(f"train got clip_norm={given['clip_norm']} and needs a finite number above 0.")


def _check_numbers(numbers: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse the numbers of a checkpoint that was altered.

    Raises:
        CheckpointError: naming one.
    """
    for name, annotation in _NUMBERS.items():
        try:
            as_annotated(numbers[name], annotation)
        except (KeyError, WrongType):
            raise CheckpointError(f"{checkpoint.path} was altered ({name}); start the run anew.") from None


def _check_shapes(tensors: dict[str, Tensor], like: dict[str, Tensor]) -> None:
    """Refuse tensors of other names or shapes.

    Raises:
        KeyError: they are.
    """
    if tensors and {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in like.items()}:
        raise KeyError("best")


def _check(**positive: int) -> None:
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"train got {name}={value} and needs at least 1.")


def _check_choices(loss: nn.Module, feed: Feed, seed: int, engine: Engine) -> None:
    """Let a loss check its choices on the first batch, without any change of state."""
    loss.train()
    if isinstance(loss, Loss):
        with forked(engine.torch_device, seed, engine.rank, 0, _CHECKED), buffers_kept(loss):
            loss.check(*feed.transform(*feed.batch(0))[:2])


def _make_step(
    loss: nn.Module,
    feed: Feed,
    clip_norm: float | None,
    compile: bool | Literal["auto"],
    num_steps: int,
    optimizer: OptimizerName | MakeOptimizer | None,
    accumulate: int,
    engine: Engine,
) -> TrainingStep:
    """The compiled step if wanted and possible, else the eager one, with a warning if compilation was requested."""
    chosen = optimizer_of(optimizer)
    able = engine.precision == "fp32" and engine.world_size == 1 and chosen == Adam() and accumulate == 1
    if compile is True and not (able and feed.resumable):
        raise ValueError(
            "compile=True needs one process, fp32, the default Adam, whole batches and rows with numbers; use "
            "compile='auto' for the rest."
        )
    wanted = compile is True or (compile == "auto" and num_steps >= COMPILE_ABOVE and engine.accelerator == "cpu")
    if wanted and able and feed.resumable:
        step = CompiledStep(loss, feed.transform, clip_norm)
        try:
            step.prepare(feed.batch(0))
            return step
        except CannotCompile as error:
            if compile is True:
                raise
            warnings.warn(f"{error} Training goes on uncompiled.", stacklevel=3)
    return EagerStep(loss, feed.transform, engine, chosen, clip_norm, accumulate)


def _with_rows(error: NonFiniteError, loss: nn.Module, feed: Feed, *, kept: int) -> NonFiniteError:
    """The same error with the rows of its step, those of them that are not finite, and the last good step."""
    rows = feed.rows(error.step)
    if rows is None or not isinstance(feed, Numbered):
        return NonFiniteError(error.step, error.term, error.value, kept=kept)
    support = getattr(loss.model.likelihood, "support", None) if isinstance(loss, Loss) else None
    missing_is_fine = isinstance(support, Support) and support.allows_missing
    bad = [] if missing_is_fine else rows[_not_finite(feed.source.gather(rows)[0])].tolist()
    return NonFiniteError(error.step, error.term, error.value, rows=rows.tolist(), bad_rows=bad, kept=kept)


def _not_finite(x: Tensor) -> Tensor:
    """For each row (N, *event), on the CPU, whether it holds NaN or infinity."""
    return (~x.isfinite()).reshape(len(x), -1).any(1).cpu()


def _require_finite_parameters(loss: nn.Module, step: int) -> None:
    """Check the parameters, because the last gradient of an interval shows only in them."""
    named = [(name, p) for name, p in loss.named_parameters() if p.requires_grad]
    sums = torch.stack([p.detach().abs().max() if p.numel() else p.new_zeros(()) for _, p in named]).cpu()
    bad = (~sums.isfinite()).nonzero()
    if len(bad):
        index = int(bad[0])
        raise NonFiniteError(step - 1, f"parameter {named[index][0]}", sums[index].item())


def _scaler(engine: Engine) -> Any:
    return getattr(engine.fabric._precision, "scaler", None)
