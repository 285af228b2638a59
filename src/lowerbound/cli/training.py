"""What `fit` does: make or open a run folder, train, score, report."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lowerbound.cli.choices import data_description, make_settings
from lowerbound.cli.describe import data_sentence, model_sentence
from lowerbound.cli.failures import Interrupted
from lowerbound.cli.interrupt import GracefulInterrupt
from lowerbound.cli.processes import any_process, launch, made_by_first
from lowerbound.cli.progress import TrainingProgress
from lowerbound.cli.report import write
from lowerbound.cli.scores import print_scores, score_run
from lowerbound.cli.terminal import open_console
from lowerbound.data import Dataset
from lowerbound.engine import Engine
from lowerbound.fitting import Problem, prepare
from lowerbound.runs import Run, load_dataset

__all__ = ["Job", "begin", "carry_out", "reopen"]

_NUM_SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ready to train."""

    run: Run
    dataset: Dataset
    problem: Problem
    engine: Engine


def begin(data: str, label: str | None, out: Path | None, options: dict[str, Any], given: set[str]) -> Job:
    """Check everything that can be checked, then make the run folder.

    Arguments:
        data: a name or a file.
        label: the column of labels in a file.
        out: the run folder, or None for one named after the data and the time.
        options: of the command.
        given: the names of those that the user gave.

    Raises:
        ValueError: the data, a choice or the folder is not usable.
    """
    description = data_description(data, label)
    dataset = load_dataset(description)
    settings = make_settings(options, given, dataset)
    engine = settings.engine()
    launch(engine)
    problem = prepare(dataset, settings, engine)
    path = out or Path("runs") / f"{_stem(data)}-{time.strftime('%Y%m%d-%H%M%S')}"
    run = made_by_first(engine, lambda: Run.create(path, settings, description, dataset, _command()))
    return Job(run=run, dataset=dataset, problem=problem, engine=engine)


def reopen(path: Path) -> Job:
    """Open a run folder to go on with it.

    Raises:
        ValueError: there is no run, or its data is gone or changed.
    """
    run = Run.open(path)
    dataset = run.dataset()
    engine = run.settings.engine()
    launch(engine)
    return Job(run=run, dataset=dataset, problem=run.prepare(dataset, engine), engine=engine)


def carry_out(job: Job, *, evaluate: bool) -> None:
    """Train; then, in the first process, score the test rows and write the report.

    Raises:
        Interrupted: on request, after saving.
        NonFiniteError: a loss or gradient was not finite.
        CheckpointError: the disk refused.
    """
    console = open_console() if job.engine.rank == 0 else None
    if console is not None:
        console.print(data_sentence(job.dataset, job.problem.transform), markup=False)
        console.print(model_sentence(job.run.settings, job.problem.loss.model), markup=False)
        console.print(f"Run: {job.run.path}", markup=False)
    _train(job, console)
    if console is None:
        return
    if not evaluate:
        console.print(f"Trained and saved; score it with `lowerbound evaluate {job.run.path}`.", markup=False)
        return
    _finish(job.run, console)


def _train(job: Job, console: Console | None) -> None:
    """Go through the records; a first interruption ends at the next one, where the loop saves."""
    run, num_steps = job.run, job.problem.num_steps
    stopped_at = None
    try:
        with (
            GracefulInterrupt() as interrupt,
            TrainingProgress(console, num_steps) as progress,
            closing(run.fit(job.problem, job.engine)) as records,
        ):
            for record in records:
                progress.update(record)
                if any_process(job.engine, interrupt.requested) and record.step < num_steps:
                    stopped_at = record.step
                    break
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped at once; go on from the last save with `lowerbound fit --resume {run.path}`."
        ) from None
    if stopped_at is not None:
        raise Interrupted(
            f"Stopped at step {stopped_at:,} of {num_steps:,} and saved; "
            f"go on with `lowerbound fit --resume {run.path}`."
        )


def _finish(run: Run, console: Console) -> None:
    """Score, print, report; what was trained is safe already."""
    try:
        scores = score_run(run, console, num_samples=_NUM_SAMPLES)
        run.save_evaluation(scores)
        print_scores(console, scores, run.dataset().name)
        console.print(f"Report: {write(run)}", markup=False)
    except KeyboardInterrupt:
        raise Interrupted(f"Training is done and saved; score it with `lowerbound evaluate {run.path}`.") from None


def _command() -> str:
    """The words of the user."""
    return shlex.join(["lowerbound", *sys.argv[1:]])


def _stem(data: str) -> str:
    return Path(data).name.partition(".")[0] or "data"
