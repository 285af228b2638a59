"""The state of a training run: what changes from step to step, how it is saved, and how it is resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.criterion import chooses, criterion_of, described
from lowerbound.data.numbered import ORDER, Feed, Numbered
from lowerbound.losses.guards import batch_norms, to_training
from lowerbound.optimizers import load_optimizer_tensors, optimizer_tensors
from lowerbound.protocols import FollowsSteps, Schedule
from lowerbound.randomness import forked
from lowerbound.threads import computing_seconds
from lowerbound.training.averaged import Averaged
from lowerbound.training.checkpoint import BestWeights, Checkpoint, CheckpointError
from lowerbound.training.compiling import AutoCompile
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut, held_out_terms
from lowerbound.training.history import History, NonFiniteError
from lowerbound.training.last_good import LastGood
from lowerbound.training.not_finite import require_finite_parameters, with_rows
from lowerbound.training.record import Record
from lowerbound.training.sharded_state import load_state_here, state_here
from lowerbound.training.sharding import Shards
from lowerbound.training.skipping import Skipping
from lowerbound.training.steps import TrainingStep
from lowerbound.training.tuning import cpu_tuning
from lowerbound.typed import WrongType, as_annotated

__all__ = ["TrainingRun"]

_NUMBERS: dict[str, Any] = {
    "step": int,
    "seconds": float,
    "stopped": str | None,
    "evaluated_at": int,
    "evaluations_since_best": int,
    "best_bound": float | None,
    "scaler": Mapping | None,
    "compiled": bool | None,
}


class TrainingRun:
    """The state of a training run between two records; `loop.train` says when each of its methods is called."""

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
        self.kept_in_eval = tuple(norm for norm in batch_norms(loss) if not norm.training)
        self.followers = [part for part in loss.modules() if isinstance(part, FollowsSteps)]
        self.best, self.good = BestWeights(loss), LastGood()
        self.averaged: Averaged | None = None
        self.skipping: Skipping | None = None
        self.shards: Shards | None = None
        self.auto: AutoCompile | None = None
        self.row_numbers: np.ndarray | None = None
        self.history: History | None = None
        self.step = self.evaluations_since_best = self.evaluated_at = 0
        self.seconds, self.stopped = 0.0, None
        self._waited_before, self._step_seconds = 0.0, 0.0
        self._raw: tuple[Tensor, ...] = ()
        self._note: str | None = None
        self._saved_at = self._started = time.monotonic()

    @contextmanager
    def working(self, device: torch.device) -> Iterator[None]:
        """Set the random numbers of this interval, tune the process, and run the clock."""
        self._started = time.monotonic()
        with cpu_tuning(device), forked(device, self.seed, self.engine.rank, self.step):
            yield

    def advance(self, num_steps: int) -> None:
        """Take some steps without waiting for the device."""
        to_training(self.loss, self.kept_in_eval)
        if self.shards is not None:
            self.shards.agree_on_buffers()
        self.step_once.begin()
        first, started = self.step, computing_seconds()
        for i in range(first, first + num_steps):
            for part in self.followers:
                part.at_step(i)
            self._raw = self.feed.batch(i)
            row = self.step_once(self._raw, self.schedule(i))
            if self.averaged is not None:
                self.averaged.update(i, row[len(self.step_once.terms) :].isfinite().all())
            if self.history is None or len(self.history.rows) < num_steps:
                self.history = History(self.step_once.terms, self.step_once.parameters, num_steps, row.device)
            if i == first:
                self.history.begin(first)
            self.history.write(row)
        self.step += num_steps
        self._step_seconds = (computing_seconds() - started) / num_steps

    def choose_form(self, steps_left: int) -> None:
        """Decide, if that is open, whether the steps that are left are compiled."""
        if self.auto is not None and self.auto.decided is None:
            found = self.auto.choose(self.step_once, self._step_seconds, steps_left, self._raw)
            self.step_once, self._note = found

    def conclude(self, *, last: bool) -> Record:
        """Read the interval, evaluate if it is time, decide whether to stop."""
        assert self.history is not None
        scaled = self.engine.precision == "fp16"
        try:
            terms, norm = self.history.read(self.engine.mean, gradients_may_overflow=scaled)
            require_finite_parameters(self.loss, self.step, self.engine.mean)
        except NonFiniteError as error:
            found = with_rows(error, self.loss, self.feed, kept=self.good.numbers["step"])
            raise found.numbered(self.row_numbers) from None
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
            note=self._told(),
            skipped=0 if self.skipping is None else self.skipping.count,
            waited=self._waited(),
        )

    def _told(self) -> str | None:
        told, self._note = self._note, None
        return told

    def _waited(self) -> float:
        """Earlier parts of a resumed run included."""
        return self._waited_before + (self.feed.waited if isinstance(self.feed, Numbered) else 0.0)

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
            criterion = criterion_of(terms)
            is_best = chooses(criterion) and self.best.offer(terms[criterion])
        counts = not is_best and self.step > plan.patience_from
        self.evaluations_since_best = self.evaluations_since_best + 1 if counts else 0
        if plan.patience is not None and self.evaluations_since_best >= plan.patience and not last:
            self.stopped = f"no better held-out {described(criterion)} in {plan.patience} evaluations"
        return terms, is_best

    def finish(self) -> None:
        """Give the loss the best weights, or the averages if nothing was evaluated."""
        if self.averaged is not None:
            self.averaged.restore()
        self.best.restore()
        self.give_back()

    def give_back(self) -> None:
        """Give the loss its layers whole, if they were divided among processes."""
        if self.shards is not None:
            self.shards.give_back()

    def save(self, *, force: bool) -> None:
        """Write a checkpoint if one is wanted and due."""
        plan = self.checkpoint
        if plan is None or not (force or self._is_due(plan)):
            return
        self._write(plan, self._groups(), self._numbers())
        self._saved_at = time.monotonic()

    def _is_due(self, plan: Checkpoint) -> bool:
        """By the clock of the first process, which writes."""
        due = time.monotonic() - self._saved_at >= plan.every
        return due if self.shards is None else self.engine.said_by_first(due)

    def keep(self) -> None:
        """Remember this record, in which every number was finite."""
        self.good.keep(self._groups(), self._numbers())

    def fall_back(self, error: NonFiniteError) -> None:
        """Go back to the record before the bad number, save it with the reason, and give the loss its best weights."""
        load_state_here(self.loss, self.good.groups["loss"])
        if self.averaged is not None:
            self.averaged.load(self.good.groups["average"])
        if self.checkpoint is not None:
            failure = {"step": error.step, "what": error.what}
            self._write(self.checkpoint, self.good.groups, {**self.good.numbers, "failure": failure})
        self.finish()

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        """The tensors that change with every step, as far as they lie in this process."""
        groups = {"loss": state_here(self.loss), "optimizer": optimizer_tensors(self.step_once.optimizer)}
        if self.averaged is not None:
            groups["average"] = self.averaged.tensors
        if self.skipping is not None:
            groups["skipping"] = self.skipping.tensors
        return groups

    def _write(self, plan: Checkpoint, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """Let the first process write one file, to which all give their parts."""
        if math.isfinite(self.best.bound):
            groups = {**groups, "best": self.best.tensors}
        if self.shards is not None:
            groups = self.shards.whole(groups)
        if self.engine.rank == 0:
            plan.save(groups, numbers)

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
            if self.shards is not None:
                groups = self.shards.parts(groups)
            _check_shapes(groups.get("best", {}), self.best.tensors)
            load_state_here(self.loss, groups["loss"])
            load_optimizer_tensors(self.step_once.optimizer, groups.get("optimizer", {}))
            if self.averaged is not None:
                self.averaged.load(groups["average"])
            if self.skipping is not None and "skipping" in groups:  # a run may go on with it that began without
                self.skipping.load(groups["skipping"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{checkpoint.path} is a checkpoint of another model; give the loss it was made with, or another path."
            ) from error
        self.best.tensors.update(groups.get("best", {}))
        self.best.bound = numbers["best_bound"] if numbers["best_bound"] is not None else float("-inf")
        self.step, self.seconds, self.stopped = numbers["step"], numbers["seconds"], numbers["stopped"]
        self.evaluated_at, self.evaluations_since_best = numbers["evaluated_at"], numbers["evaluations_since_best"]
        self._waited_before = float(numbers.get("waited", 0.0))
        self._follow(numbers.get("order", 1), checkpoint)
        if self.auto is not None and numbers.get("compiled") is not None:
            self._take_form(self.auto, numbers["compiled"])
        if numbers["scaler"] is not None:
            _scaler(self.engine).load_state_dict(numbers["scaler"])

    def _follow(self, order: Any, checkpoint: Checkpoint) -> None:
        """Take the rows in the order of the run that is resumed."""
        if order not in (1, ORDER):
            raise CheckpointError(
                f"{checkpoint.path} takes rows in order {str(order)[:20]}, which this version does not know; resume it "
                "with the version that made it, or start the run anew."
            )
        if isinstance(self.feed, Numbered):
            self.feed.take_order(order)

    def _take_form(self, auto: AutoCompile, compiled: bool) -> None:
        """Go on in the form of the run that is resumed."""
        step = auto.compiled(self.step_once, self.feed.batch(self.step)) if compiled else None
        auto.decided = step is not None
        self.step_once = step or self.step_once

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
            "waited": self._waited(),
            "order": self.feed.order if isinstance(self.feed, Numbered) else ORDER,
            "compiled": None if self.auto is None else self.auto.decided,
        }


def _check_numbers(numbers: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse the numbers of a checkpoint that was altered.

    Raises:
        CheckpointError: naming one.
    """
    for name, annotation in _NUMBERS.items():
        if name == "compiled" and name not in numbers:  # of a former version
            continue
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


def _scaler(engine: Engine) -> Any:
    return getattr(engine.fabric._precision, "scaler", None)
