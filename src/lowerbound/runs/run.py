"""A run is a folder: a fit in progress, and at its end the fitted model.

==================  ==========================================================================================
run.json            the plan, the schema of the data with its checksum, library versions: enough to fit again
model.safetensors   the weights with the best held-out bound, and the numbers of the data transform
state.safetensors   the checkpoint to resume from (see `checkpoint`); finish-state.safetensors that of a second stage
start.safetensors   the weights that it began from, if it began from those of another run
metrics.jsonl       one record per line
evaluation.json     scores on the test rows
report.html         pictures
==================  ==========================================================================================

Opening a run calls its recipe again and loads tensors: no pickle, and no code from the folder.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn

from lowerbound.data import DataError, Dataset, load, read_file
from lowerbound.data.checks import is_gone
from lowerbound.data.errors import clipped
from lowerbound.data.schema import Schema
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.fitting.preparing import Training
from lowerbound.fitting.stages import finish_checkpoint, fit
from lowerbound.fitting.start import Start
from lowerbound.model import LatentVariableModel
from lowerbound.run_json import read_evaluation, record_of
from lowerbound.runs.folders import (
    LOCK,
    RunError,
    describe_run,
    open_folder,
    read_start,
    read_weights,
    run_files,
    write_model,
    write_start,
)
from lowerbound.training.checkpoint import Checkpoint, CheckpointError, remove_partial_files, write_atomically
from lowerbound.training.engine import Engine
from lowerbound.training.history import NonFiniteError
from lowerbound.training.record import Record

__all__ = ["Run", "RunError", "default_path", "load_dataset"]


class Run:
    """An existing run folder.

    Attributes:
        path: the folder.
        config: the content of run.json.
        plan: how it was, or will be, fitted.
        schema: what its data mean.
    """

    def __init__(self, path: Path, config: dict[str, Any], plan: Plan, schema: Schema):
        self.path, self.config, self.plan, self.schema = path, config, plan, schema
        self.checkpoint = Checkpoint(path=path / "state.safetensors")
        self._is_new = False

    @classmethod
    def create(
        cls,
        path: str | Path,
        plan: Plan,
        data: dict[str, Any],
        dataset: Dataset,
        command: str | None = None,
        start: Start | None = None,
        came_from: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make a folder for a new run.

        Arguments:
            path: the folder; it may exist, but must hold no run.
            plan: how it will be fitted.
            data: how to get the data again: {"name": …} or {"path": …, …} (see `load_dataset`).
            dataset: the data.
            command: the words of the user that began it, for the report.
            start: the weights that it begins from, if from those of another model.
            came_from: the run that it goes on from, in plain values; that of the start if there is one.

        Raises:
            RunError: the folder holds another run, or cannot be written.
        """
        path = Path(path)
        try:
            _clear_failed(path)
            taken = [name for name in run_files() if (path / name).exists()]
        except OSError as error:  # a name that is too long, or a folder without permission
            raise RunError(f"Could not write to {path} ({error.strerror or error}); choose another folder.") from error
        if taken:
            raise RunError(f"{path} already holds a run ({', '.join(taken)}); choose another folder, or --resume it.")
        config = describe_run(
            plan,
            dataset.schema,
            data={**data, "checksum": dataset.checksum},
            name=dataset.name,
            command=command,
            came_from={**({} if start is None else start.origin), **(came_from or {})} or None,
        )
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(path / "run.json", json.dumps(config, indent=2).encode(), new=True)
        except OSError as error:
            if path.exists() and not path.is_dir():
                raise RunError(f"{path} is a file and cannot hold a run; choose a folder.") from None
            if (path / "run.json").exists():  # its owner may have swept away what was to become ours
                raise RunError(f"{path} was taken by another process just now; choose another folder.") from None
            raise RunError(f"Could not write to {path} ({error.strerror or error}); choose another folder.") from error
        if start is not None:
            write_start(path, start)
        run = cls(path, config, plan, dataset.schema)
        run.__dict__["dataset"] = dataset  # which need not be read again
        run._is_new = True
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run folder.

        Raises:
            RunError: there is none, or it is not of a format that this version reads.
        """
        path = Path(path)
        config, plan, schema = open_folder(path)
        return cls(path, config, plan, schema)

    @cached_property
    def dataset(self) -> Dataset:
        """The data it was fitted to, read once.

        Raises:
            DataError: the data is gone, or is not the same any more.
        """
        data = self.config["data"]
        if "path" in data and is_gone(Path(data["path"])):
            raise DataError(
                f"the data of {self.path} are gone: there is no file '{clipped(data['path'])}'; put them back, or name "
                "the rows with --data where the command takes it (in Python give them)."
            )
        dataset = load_dataset(data, self.schema if self.config["format"] > 1 else None)
        former = self.config["format"] == 1 and data["checksum"] == dataset.legacy_checksum
        if data["checksum"] != dataset.checksum and not former:
            raise DataError(
                f"The data of {self.path} ({dataset.source}) has changed since the run began; restore it or start anew."
            )
        return dataset

    def fit(self, training: Training, engine: Engine) -> Generator[Record, None, None]:
        """Train, or continue training. Yield records, write them to the folder, and write the best weights at the end.

        If a choice is refused before the first record, a new folder is taken away again, so that the name is free.

        Raises:
            RunError: another process trains in this folder.
        """
        if engine.rank != 0:
            yield from fit(training, self.plan, engine, self.checkpoint)
            return
        try:
            with closing(self._fit(training, engine)) as records:
                for record in records:
                    self._is_new = False
                    yield record
        except ValueError as error:
            if self._is_new and not isinstance(error, RunError | CheckpointError):  # not where a disk or lock refused
                self._discard()
            raise

    def _discard(self) -> None:
        """Remove what `create` and `fit` made before any training."""
        for name in (*run_files(), ".lock"):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # it holds other files of the user
            self.path.rmdir()

    def _fit(self, training: Training, engine: Engine) -> Generator[Record, None, None]:
        with locked(self.path):
            remove_partial_files(self.path)
            if (self.config.get("came_from") or {}).get("step") and not self.checkpoint.exists():
                raise RunError(f"{self.path} has lost the checkpoint that it goes on from; make the run again.")
            self._forget_after(self._checkpointed_step())
            try:
                with closing(fit(training, self.plan, engine, self.checkpoint)) as records:  # leaving early saves
                    for record in records:
                        self._append(record)
                        yield record
            except NonFiniteError as error:
                if error.kept:
                    weights = f"The best weights of the first {error.kept:,} steps. {error.what}."
                    write_model(self.path, training.loss.model, training.transform, weights)
                raise
            write_model(self.path, training.loss.model, training.transform)

    @property
    def start(self) -> Start | None:
        """The weights that it began from, if it began from those of another model.

        Raises:
            RunError: they are missing or damaged.
        """
        came_from = self.config.get("came_from") or {}
        return read_start(self.path, self.plan, self.schema, came_from) if "weights" in came_from else None

    @property
    def failure(self) -> str | None:
        """Why training failed, at which step and rows; None if it did not.

        Raises:
            CheckpointError: the checkpoint is not readable.
        """
        failure = self.checkpoint.state().get("failure") if self.checkpoint.exists() else None
        return str(failure["what"]) if isinstance(failure, dict) and "what" in failure else None

    @property
    def finished(self) -> bool:
        """Whether there are weights to work with: of training that came to its end, or of a failed one the best."""
        return (self.path / "model.safetensors").exists()

    def fitted(
        self,
        *,
        model: LatentVariableModel | None = None,
        transform: nn.Module | None = None,
        dataset: Dataset | None = None,
    ) -> Fitted:
        """The model with its best weights, on the CPU, in evaluation mode.

        Arguments:
            model: the model, if it was read already.
            transform: the data transform, if it was read already.
            dataset: the data, if they were read already.

        Raises:
            RunError: there are no trained weights.
        """
        config = self.config
        if model is None or transform is None:
            if not self.finished and self.failure is not None:
                raise RunError(f"Training failed before its first record ({self.failure}); fit with another lr.")
            model, transform, weights = read_weights(self.path, self.plan, self.schema)
            config = config if weights is None else {**config, "weights": weights}
        if dataset is not None:
            self.__dict__["dataset"] = dataset
        return Fitted(
            model.cpu().eval(),
            schema=self._schema_with_names(),
            plan=self.plan,
            transform=transform.cpu(),
            name=self.config.get("name") or self.path.name,
            data=(lambda: self.dataset) if {"path", "name"} & set(self.config["data"]) else None,
            records=self.metrics(),
            notes=self.notes(),
            scores=self.evaluation(),
            folder=self.path,
            config=config,
        )

    def metrics(self) -> list[dict[str, Any]]:
        """The records so far, those apart that cannot be read."""
        return [record for line in self._lines() if (record := record_of(line)) is not None]

    def notes(self) -> tuple[str, ...]:
        """What whoever reads its records should know, a sentence each."""
        count = sum(record_of(line) is None for line in self._lines())
        lines = "A line" if count == 1 else f"{count:,} lines"
        return (f"{lines} of metrics.jsonl cannot be read, and what follows on training lacks them.",) if count else ()

    def _lines(self) -> list[str]:
        path = self.path / "metrics.jsonl"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def evaluation(self) -> dict[str, Any] | None:
        """The scores on the test rows, if `evaluate` was run.

        Raises:
            RunError: the file is not readable.
        """
        path = self.path / "evaluation.json"
        return read_evaluation(path) if path.exists() else None

    def save_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Write evaluation.json.

        Raises:
            CheckpointError: the disk refused.
        """
        self.write("evaluation.json", json.dumps(evaluation, indent=2).encode())

    def _schema_with_names(self) -> Schema:
        """The schema of the folder. Format 1 kept no names: then it is that of the data, if these still exist."""
        if self.config["format"] > 1:
            return self.schema
        try:
            return self.dataset.schema
        except DataError:
            return self.schema

    def _checkpointed_step(self) -> int:
        both = self.checkpoint, finish_checkpoint(self.checkpoint)
        return sum(checkpoint.state()["step"] for checkpoint in both if checkpoint.exists())

    def _forget_after(self, step: int) -> None:
        """Drop the records after the last checkpoint of a killed process; these steps will be repeated exactly."""
        if lines := [(line, record_of(line)) for line in self._lines()]:
            whole = [line for line, record in lines if record is not None and 0 < record["step"] <= step]
            self.write("metrics.jsonl", "".join(line + "\n" for line in whole).encode())

    def _append(self, record: Record) -> None:
        line = json.dumps(dataclasses.asdict(record))
        try:
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            raise CheckpointError(
                f"Could not write to {self.path} ({error.strerror or error}); the last checkpoint is whole. "
                "Free some space and resume."
            ) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder, whole or not at all.

        Raises:
            CheckpointError: the disk refused.
        """
        try:
            write_atomically(self.path / name, content)
        except OSError as error:
            raise CheckpointError(
                f"Could not write {self.path / name} ({error.strerror or error}); the existing file is unchanged. "
                "Free some space and try again."
            ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a run folder; the lock ends with the process.

    Raises:
        RunError: another process has it.
    """
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(f"Another process trains in {path}; wait for it, or stop it first.") from None
    except OSError as error:
        raise RunError(f"Could not write to {path} ({error.strerror or error}); the run cannot go on there.") from error
    try:
        yield
    finally:
        lock.release()


def default_path(name: str) -> Path:
    """Make a new folder runs/NAME-TIME-NUMBER for this run.

    Raises:
        RunError: it cannot be made.
    """
    words = name.partition(".")[0].translate(dict.fromkeys(map(ord, "*?[]")))
    stem = f"{words[:60] or 'data'}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.parent.mkdir(exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"Could not make {path} ({error.strerror or error}); name a folder with --out.") from error
    raise AssertionError


def _clear_failed(path: Path) -> None:
    """Remove a run that failed before its first record, so that nothing was trained, and leave every other folder."""
    if not (path / "run.json").is_file() or (path / "metrics.jsonl").exists():
        return
    try:
        run = Run.open(path)
        if run.failure is None or run.finished:
            return
        with locked(path):
            run._discard()
    except (RunError, CheckpointError):
        return


def load_dataset(data: dict[str, Any], schema: Schema | None = None) -> Dataset:
    """The data set that a description names.

    Arguments:
        data: {"name": …} for a data set of the catalogue; {"path": …} for a file or folder, with what the user said
            about it: "label", "kind", "columns", "array", "covariates", "series", "time".
        schema: how to read it, if it is known.

    Raises:
        DataError: it names no data (as for a model that was saved from Python), or they cannot be read.
    """
    if "path" not in data and "name" not in data:
        raise DataError("the model was saved from Python and has no way back to its data; give it rows to work on.")
    if "path" not in data:
        return load(data["name"])
    wanted = ("label", "array")
    if schema is None:
        wanted += ("kind", "columns", "covariates", "series", "time")
    said = {name: data[name] for name in wanted if data.get(name) is not None}
    return read_file(data["path"], **said, schema=schema)
