"""The work of `fit`: make or open a run folder, train, score, report."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lowerbound.cli.describe import fit_sentences
from lowerbound.cli.failures import LONGEST, Interrupted, command
from lowerbound.cli.interrupt import GracefulInterrupt
from lowerbound.cli.processes import any_process, launch, made_by_first
from lowerbound.cli.progress import TrainingProgress
from lowerbound.cli.report import write
from lowerbound.cli.scores import print_scores, score_fitted
from lowerbound.cli.terminal import open_console
from lowerbound.data import Dataset
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import Training, prepare
from lowerbound.fitting.start import plan_from
from lowerbound.loggers import recording
from lowerbound.one_call import start_of
from lowerbound.runs import Run, default_path, load_dataset
from lowerbound.runs.branching import branch, changed_plan
from lowerbound.spelling import parse
from lowerbound.training.engine import Engine
from lowerbound.training.history import NonFiniteError
from lowerbound.weights import NoDensityError

__all__ = ["Job", "begin", "carry_out", "go_on_otherwise", "reopen"]

_LEAST_OF_A_FAILURE = 90  # characters
_SAFE_RATE = 1e-3  # as high a learning rate as is advised after a failure


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ready to train."""

    run: Run
    dataset: Dataset
    training: Training
    engine: Engine


def begin(
    described: dict[str, Any],
    recipe: str | None,
    out: Path | None,
    given: dict[str, Any],
    start_from: Path | None = None,
) -> Job:
    """Check everything that can be checked, then make the run folder.

    Arguments:
        described: how to get the data (`describe_data`).
        recipe: name of a recipe, with options; None for what suits the data.
        out: the run folder, or None for one named after the data and the time.
        given: settings and options by name; None if one was left open.
        start_from: the run whose model and weights it begins with, or None.

    Raises:
        ValueError: the data, a choice or the folder is not usable.
    """
    start = None if start_from is None else start_of(start_from)
    if start is not None and ({"kind", "columns", "series", "time"} & described.keys()):
        raise ValueError("The run of --from says what its data mean; leave --kind, --columns, --series and --time out.")
    dataset = load_dataset(described, None if start is None else start.reads)
    planned = plan_from(start, dataset, recipe, **given)
    engine = planned.engine()
    launch(engine)
    training = prepare(dataset, planned, engine, start_from=start)
    path = out or default_path(dataset.name)
    run = made_by_first(engine, lambda: Run.create(path, planned, described, dataset, _command(), start))
    return Job(run=run, dataset=dataset, training=training, engine=engine)


def go_on_otherwise(path: Path, out: Path | None, changes: dict[str, Any]) -> Job:
    """Check everything that can be checked, then make a run folder that goes on from the checkpoint of another run with
    other settings.

    Raises:
        ValueError: there is no such run, or it cannot go on so.
    """
    other = Run.open(path)
    planned = changed_plan(other, changes)
    engine = planned.engine()
    launch(engine)
    training = prepare(other.dataset, planned, engine, start_from=other.start)
    run = made_by_first(engine, lambda: branch(other, out, planned, _command()))
    return Job(run=run, dataset=other.dataset, training=training, engine=engine)


def reopen(path: Path) -> Job:
    """Open a run folder to continue the run.

    Raises:
        ValueError: there is no run, or its data is gone or changed.
    """
    run = Run.open(path)
    if run.failure is not None:
        slower = command("fit", "--resume", path, "--lr", f"{min(run.plan.lr / 10, _SAFE_RATE):g}")
        raise ValueError(_with_advice(run.failure, f" and would again; change a setting, as in `{slower}`."))
    engine = run.plan.engine()
    launch(engine)
    training = prepare(run.dataset, run.plan, engine, start_from=run.start)
    return Job(run=run, dataset=run.dataset, training=training, engine=engine)


def carry_out(job: Job, *, evaluate: bool, logger: str | None = None) -> None:
    """Train; then, in the first process, score the test rows and write the report.

    Arguments:
        job: the run.
        evaluate: whether to score it and to write the report.
        logger: a choice of `loggers` in words, which writes to the folder logs in that of the run; or None.

    Raises:
        Interrupted: on request, after saving.
        NonFiniteError: a loss or gradient was not finite.
        CheckpointError: the disk refused.
    """
    console = open_console() if job.engine.rank == 0 else None
    if console is not None:
        for sentence in fit_sentences(job.dataset, job.training.transform, job.run.plan, job.training.loss.model):
            console.print(sentence, markup=False)
        console.print(f"Run: {job.run.path}", markup=False)
        if logger is not None:
            console.print(f"Log: {logger.partition(':')[0]} in {_logs(job.run, logger)}", markup=False)
    _train(job, console, logger)
    if console is None:
        return
    if not evaluate:
        console.print(f"Trained and saved; score it with `{command('evaluate', job.run.path)}`.", markup=False)
        return
    _finish(job, console)


def _logs(run: Run, logger: str) -> str:
    """Where the log is: in the run, unless the words of the logger say otherwise."""
    return str(parse(logger)[1].get("folder", run.path / "logs"))


def _train(job: Job, console: Console | None, logger: str | None) -> None:
    """Consume the records; a first interruption stops at the next one, where the loop saves."""
    run, num_steps = job.run, job.training.last_step(job.run.plan)
    told = None if console is None else logger
    given = {"folder": str(run.path / "logs"), "run_name": run.path.name, "config": run.plan.to_json()}
    stopped_at = None
    try:
        with (
            GracefulInterrupt() as interrupt,
            TrainingProgress(console, num_steps) as progress,
            recording(told, **given) as log,
            closing(run.fit(job.training, job.engine)) as records,
        ):
            for record in records:
                progress.update(record)
                log(record)
                if any_process(job.engine, interrupt.requested) and record.step < num_steps:
                    stopped_at = record.step
                    break
    except NonFiniteError as error:
        if job.engine.rank == 0:
            slower = command("fit", "--resume", run.path, "--lr", f"{min(run.plan.lr / 10, _SAFE_RATE):g}")
            error.args = (_with_advice(error.what, f"; {_kept(error)}. Go on with `{slower}`."),)
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped at once; go on from the last save with `{command('fit', '--resume', run.path)}`."
        ) from None
    if stopped_at is not None:
        raise Interrupted(
            f"Stopped at step {stopped_at:,} of {num_steps:,} and saved; "
            f"go on with `{command('fit', '--resume', run.path)}`."
        )


def _finish(job: Job, console: Console) -> None:
    """Score, print and report; the trained model is saved before."""
    run = job.run
    try:
        fitted = run.fitted(model=job.training.loss.model, transform=job.training.transform, dataset=job.dataset)
        _score(fitted, run, console)
        console.print(f"Report: {write(fitted, run.path)}", markup=False)
    except KeyboardInterrupt:
        raise Interrupted(f"Training is done and saved; score it with `{command('evaluate', run.path)}`.") from None


def _score(fitted: Fitted, run: Run, console: Console) -> None:
    """Score the test rows, or say how, where q(z | x) has no density and there is no bound without further work."""
    try:
        scores = score_fitted(fitted, console)
    except NoDensityError:
        words = command("evaluate", run.path, "--annealed", 1000, "--limit", 200)
        console.print(
            f"There is no bound to score by, for q(z | x) has no density. Annealed importance sampling gives one: "
            f"`{words}`.",
            markup=False,
        )
        return
    run.save_evaluation(scores)
    fitted.scores = scores
    print_scores(console, scores, fitted)


def _kept(error: NonFiniteError) -> str:
    """What is left of a training that failed."""
    if not error.kept:
        return "no step before it was recorded"
    return f"the best weights of the first {error.kept:,} steps are kept"


def _with_advice(what: str, advice: str) -> str:
    """What happened, cut where it would leave no room for what to do."""
    room = max(_LEAST_OF_A_FAILURE, LONGEST - len(advice))
    return f"{what if len(what) <= room else what[: room - 3] + '...'}{advice}"


def _command() -> str:
    """The words of the user."""
    return shlex.join(["lowerbound", *sys.argv[1:]])
