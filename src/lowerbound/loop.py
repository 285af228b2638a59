"""The training loop: one copy, for every loss.

    for record in train(loss, source, num_steps=10_000):
        print(record.step, record.terms["bound"])

The body of the caller's `for` is the callback. The loop waits for the device only where a record is made, every
`log_every` steps; there it checks that every number was finite, evaluates the held-out bound, and saves. Random
numbers depend on the seed and the step alone (see `randomness`), and a checkpoint is made at a record, so a run that
was killed and resumed goes through the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lowerbound.checkpoint import BestWeights, Checkpoint, CheckpointError
from lowerbound.data.source import Source, Stream
from lowerbound.engine import Engine
from lowerbound.history import History, NonFiniteError
from lowerbound.protocols import FollowsSteps, Schedule
from lowerbound.randomness import forked
from lowerbound.schedules import Constant
from lowerbound.steps import Adam, CannotCompile, CompiledStep, EagerStep, MakeOptimizer, TrainingStep
from lowerbound.tuning import cpu_tuning

__all__ = ["HeldOut", "Record", "held_out_terms", "steps_for", "train"]

_HELD_OUT = 1  # tells the random numbers of evaluation from those of training
COMPILE_ABOVE = 20_000
"""Steps from which `compile="auto"` compiles: a graph takes seconds to build and saves part of a millisecond a step."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known at the end of a logging interval.

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


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out data, by whose bound training is judged.

    Arguments:
        source: rows that are never trained on.
        every: steps between evaluations; they happen at the next record.
        patience: evaluations without a better bound after which training stops; None never stops.
        batch_size: rows evaluated at a time.
    """

    source: Source
    every: int
    patience: int | None = None
    batch_size: int = 1000


def steps_for(epochs: float, num_rows: int, batch_size: int) -> int:
    """The steps that see `num_rows` rows `epochs` times."""
    return max(1, math.ceil(epochs * num_rows / batch_size))


def train(
    loss: nn.Module,
    source: Source,
    *,
    num_steps: int,
    batch_size: int = 128,
    lr: float | Schedule = 1e-3,
    clip_norm: float | None = None,
    seed: int = 0,
    log_every: int = 100,
    held_out: HeldOut | None = None,
    checkpoint: Checkpoint | None = None,
    compile: bool | Literal["auto"] = "auto",
    optimizer: MakeOptimizer | None = None,
    engine: Engine | None = None,
) -> Generator[Record, None, None]:
    """Minimise a loss by stochastic gradients, yielding a `Record` every `log_every` steps.

    If `checkpoint` exists already, training goes on from it. When the loop ends the loss has its best weights by the
    held-out bound, or its last weights without held-out data. Leaving the caller's `for` early saves first.

    Arguments:
        loss: maps the tensors of a batch to a `loss.LossOutput`.
        source: rows to train on (`data.InMemory`, `data.MemoryMapped`).
        num_steps: optimisation steps in all; `steps_for` converts epochs.
        batch_size: rows per step, over all processes.
        lr: learning rate, or a schedule of it.
        clip_norm: largest norm of the whole gradient; larger ones are scaled down after `backward`.
        seed: of the order of the rows and of every random number drawn in training.
        log_every: steps between records.
        held_out: data for the held-out bound, early stopping and the choice of the best weights.
        checkpoint: where to save and resume.
        compile: True to compile the step (one process, fp32, Adam); "auto" does so from 20,000 steps on a CPU.
        optimizer: makes an optimiser from parameters; fused Adam by default.
        engine: device, precision and processes.

    Raises:
        ValueError: arguments that do not go together.
        NonFiniteError: a loss or gradient was NaN or infinite; raised at the end of its interval, before anything is
            saved.
        CheckpointError: the disk refused a checkpoint, or the one to resume from is unreadable.
    """
    engine = engine or Engine()
    schedule = Constant(lr) if isinstance(lr, int | float) else lr
    _check(num_steps=num_steps, batch_size=batch_size, log_every=log_every)
    device = engine.torch_device
    loss.to(device)
    rows = Stream(len(source), batch_size, seed, rank=engine.rank, world_size=engine.world_size)
    step = _make_step(loss, source, rows, clip_norm, compile, num_steps, optimizer, engine)
    run = _Run(loss, step, schedule, rows, seed, engine, held_out, checkpoint)
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    try:
        while run.step < num_steps and run.stopped is None:
            with run.working(device):
                run.advance(source, min(log_every, num_steps - run.step))
                record = run.conclude(last=run.step == num_steps)
            yield record
            run.save(force=run.step == num_steps or run.stopped is not None)
    except GeneratorExit:
        run.save(force=True)
        raise
    run.best.restore()


class _Run:
    """The state of a training run between two records."""

    def __init__(
        self,
        loss: nn.Module,
        step: TrainingStep,
        schedule: Schedule,
        rows: Stream,
        seed: int,
        engine: Engine,
        held_out: HeldOut | None,
        checkpoint: Checkpoint | None,
    ):
        self.loss, self.step_once, self.schedule, self.rows = loss, step, schedule, rows
        self.seed, self.engine, self.held_out, self.checkpoint = seed, engine, held_out, checkpoint
        self.followers = [part for part in loss.modules() if isinstance(part, FollowsSteps)]
        self.best = BestWeights(loss)
        self.history: History | None = None
        self.step = self.evaluations_since_best = self.evaluated_at = 0
        self.seconds, self.stopped = 0.0, None
        self._saved_at = self._started = time.monotonic()

    @contextmanager
    def working(self, device: torch.device) -> Iterator[None]:
        """Random numbers of this interval, a tuned process, and the clock running."""
        self._started = time.monotonic()
        with cpu_tuning(device), forked(device, self.seed, self.engine.rank, self.step):
            yield

    def advance(self, source: Source, num_steps: int) -> None:
        """Take some steps without waiting for the device."""
        self.loss.train()
        first = self.step
        for i in range(first, first + num_steps):
            for part in self.followers:
                part.at_step(i)
            row = self.step_once(source.gather(self.rows[i]), self.schedule(i))
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
        terms, norm = self.history.read(self.engine.mean, gradients_may_overflow=scaled)
        _require_finite_parameters(self.loss, self.step)
        held_out, is_best = self._evaluate(last=last)
        return Record(
            step=self.step,
            epoch=self.rows.epoch_of(self.step),
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
        terms = held_out_terms(self.loss, plan, self.seed, self.engine)
        is_best = self.best.offer(terms["bound"])
        self.evaluations_since_best = 0 if is_best else self.evaluations_since_best + 1
        if plan.patience is not None and self.evaluations_since_best >= plan.patience and not last:
            self.stopped = f"no better held-out bound in {plan.patience} evaluations"
        return terms, is_best

    def save(self, *, force: bool) -> None:
        """Write a checkpoint if one is wanted and due."""
        plan = self.checkpoint
        if plan is None or self.engine.rank != 0 or not (force or time.monotonic() - self._saved_at >= plan.every):
            return
        groups = {"loss": self.loss.state_dict(), "optimizer": _optimizer_tensors(self.step_once.optimizer)}
        if math.isfinite(self.best.bound):
            groups["best"] = self.best.tensors
        plan.save(groups, self._numbers())
        self._saved_at = time.monotonic()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over everything that `save` wrote."""
        groups, numbers = checkpoint.load()
        try:
            self.loss.load_state_dict(groups["loss"])
            _load_optimizer_tensors(self.step_once.optimizer, groups.get("optimizer", {}))
        except (KeyError, RuntimeError) as error:
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
        }


@torch.no_grad()
def held_out_terms(loss: nn.Module, plan: HeldOut, seed: int, engine: Engine) -> dict[str, float]:
    """The mean of every term over held-out rows, shared among the processes; the same random numbers at every call."""
    loss.eval()
    mine = torch.arange(len(plan.source)).tensor_split(engine.world_size)[engine.rank]
    total: dict[str, Tensor] = {}
    with forked(engine.torch_device, seed, engine.rank, 0, _HELD_OUT), engine.fabric.autocast():
        for rows in mine.split(plan.batch_size):
            output = loss(*plan.source.transform(*plan.source.gather(rows)))
            for name, term in output.terms.items():
                total[name] = total.get(name, 0.0) + term.float() * len(rows)
    summed = torch.stack(list(total.values())) / len(plan.source)
    means = (engine.mean(summed) * engine.world_size).tolist()
    return dict(zip(total, means, strict=True))


def _check(**positive: int) -> None:
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"train got {name}={value} and needs at least 1.")


def _make_step(
    loss: nn.Module,
    source: Source,
    rows: Stream,
    clip_norm: float | None,
    compile: bool | Literal["auto"],
    num_steps: int,
    optimizer: MakeOptimizer | None,
    engine: Engine,
) -> TrainingStep:
    """The compiled step where it is wanted and possible, else the eager one; never one for the other unsaid."""
    if _wants_graph(compile, num_steps, optimizer, engine):
        step = CompiledStep(loss, source.transform, clip_norm)
        try:
            step.prepare(source.gather(rows[0]))
            return step
        except CannotCompile as error:
            if compile is True:
                raise
            warnings.warn(f"{error} Training goes on uncompiled.", stacklevel=3)
    return EagerStep(loss, source.transform, engine, optimizer or Adam, clip_norm)


def _wants_graph(
    compile: bool | Literal["auto"], num_steps: int, optimizer: MakeOptimizer | None, engine: Engine
) -> bool:
    able = engine.precision == "fp32" and engine.world_size == 1 and optimizer is None
    if compile is True and not able:
        raise ValueError("compile=True needs one process, fp32 and the default Adam; use compile='auto' for the rest.")
    if compile != "auto":
        return compile
    return able and engine.accelerator == "cpu" and num_steps >= COMPILE_ABOVE


def _require_finite_parameters(loss: nn.Module, step: int) -> None:
    """The last gradient of an interval shows only in the parameters that it spoilt."""
    named = [(name, p) for name, p in loss.named_parameters() if p.requires_grad]
    sums = torch.stack([p.detach().abs().max() if p.numel() else p.new_zeros(()) for _, p in named]).cpu()
    bad = (~sums.isfinite()).nonzero()
    if len(bad):
        index = int(bad[0])
        raise NonFiniteError(step - 1, f"parameter {named[index][0]}", sums[index].item())


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}/{key}": value for i, entry in state.items() for key, value in entry.items()}


def _load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _scaler(engine: Engine) -> Any:
    return getattr(engine.fabric._precision, "scaler", None)
