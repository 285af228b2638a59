"""Progress: a bar on a terminal, about twenty plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lowerbound.criterion import criterion_of, described

if TYPE_CHECKING:
    from lowerbound.training.record import Record

__all__ = ["CountProgress", "TrainingProgress"]

_LINES, _SECONDS = 20, 20
_MUCH_WAITING = 0.05


class TrainingProgress:
    """The step, the bound and the held-out bound (nats), the speed and the time left.

    Arguments:
        console: where to print; None prints nothing.
        num_steps: steps in all.
    """

    def __init__(self, console: Console | None, num_steps: int):
        self._console, self._num_steps = console, num_steps
        self._held_out, self._best = "", float("-inf")
        self._first: tuple[int, float] | None = None
        self._printed, self._stage = -1, 1
        self._bar = _training_bar(console) if console is not None and console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("", total=num_steps, words="starting")

    def __enter__(self) -> TrainingProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, record: Record) -> None:
        """Show a record."""
        if record.stage > self._stage and self._console is not None:
            self._console.print("Second stage.")
        self._stage = record.stage
        criterion = criterion_of(record.terms)
        fresh = "" if record.held_out is None else f"  held-out {record.held_out[criterion]:.2f}"
        self._held_out = fresh or (self._held_out if self._bar is not None else "")  # a line repeats no old value
        skipped = f"  {record.skipped:,} updates skipped" if record.skipped else ""
        share = record.waited / record.seconds if record.seconds > 0 else 0.0
        waits = f"  {share:.0%} of the time waiting for rows" if share > _MUCH_WAITING else ""
        shown = f"{described(criterion)} {record.terms[criterion]:.2f}{self._held_out}"
        words = f"{shown}{skipped}{waits}{self._speed(record)}"
        if self._num_steps == 0 and self._console is not None:
            self._console.print("Solved without gradient steps.")
        elif self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=record.step, words=words)
        elif self._console is not None and self._is_due(record):
            self._console.print(f"step {record.step:,}/{self._num_steps:,}  {words}{self._time_left(record)}")
        if record.note is not None and self._console is not None:
            self._console.print(record.note, markup=False)
        if record.stopped is not None and self._console is not None:
            self._console.print(f"Stopped early at step {record.step:,}: {record.stopped}.")

    def _speed(self, record: Record) -> str:
        """Steps per second since the first record of this process."""
        if self._first is None:
            self._first = (record.step, record.seconds)
        step, seconds = self._first
        return (
            "" if record.seconds <= seconds else f"  {(record.step - step) / (record.seconds - seconds):,.0f} steps/s"
        )

    def _time_left(self, record: Record) -> str:
        seconds = record.seconds * (self._num_steps - record.step) / record.step
        return f"  {seconds:.0f} s left"

    def _is_due(self, record: Record) -> bool:
        """Whether another twentieth of the steps is done, or all of them."""
        part = record.step * _LINES // self._num_steps
        due = part > self._printed
        self._printed = max(part, self._printed)
        return due


class CountProgress:
    """A bar that counts rows, removed at the end; elsewhere than on a terminal a line after each twenty seconds."""

    def __init__(self, console: Console | None, words: str):
        self._plain = None if console is None or console.is_terminal else console
        self._words, self._told = words, time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=console is None or not console.is_terminal,
        )
        self._task = self._bar.add_task(words, total=None)

    def __enter__(self) -> CountProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show how many rows of the total are done."""
        self._bar.update(self._task, completed=done, total=total)
        if self._plain is not None and time.monotonic() - self._told >= _SECONDS and done < total:
            self._told = time.monotonic()
            self._plain.print(f"{self._words}: {done:,} of {total:,}")


def _training_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(compact=True),
        console=console,
    )
