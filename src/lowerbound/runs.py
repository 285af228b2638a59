"""A run is a folder.

==================  ==========================================================================================
run.json            the settings, the data with its checksum, library versions: enough to begin again
model.safetensors   the weights with the best held-out bound, and the numbers of the data transform
state.safetensors   the checkpoint to resume from (see `checkpoint`)
metrics.jsonl       one record a line
evaluation.json     scores on the test rows
report.html         pictures
==================  ==========================================================================================

Opening a run calls its recipe again and loads tensors: no pickle, and no code from the folder.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Generator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lowerbound.checkpoint import Checkpoint, CheckpointError, write_atomically
from lowerbound.data import DataError, Dataset, Identity, Pixels, Standardize, load, read_file
from lowerbound.data.classes import check_classes, one_hot
from lowerbound.engine import Engine
from lowerbound.fitting import Problem, Settings, fit, prepare, with_settings
from lowerbound.loop import Record
from lowerbound.model import LatentVariableModel
from lowerbound.randomness import forked
from lowerbound.recipes import make_model, recipe_named

__all__ = ["Run", "RunError", "load_dataset"]

_FORMAT = 1
_FILES = ("run.json", "model.safetensors", "state.safetensors", "metrics.jsonl", "evaluation.json", "report.html")
_PACKAGES = ("lowerbound", "torch", "numpy", "zuko", "safetensors", "lightning-fabric")
_CPU = torch.device("cpu")


class RunError(ValueError):
    """A run folder that cannot be made or opened, in one sentence."""


class Run:
    """An existing run folder.

    Attributes:
        path: the folder.
        config: the content of run.json.
        settings: how it was, or will be, fitted.
    """

    def __init__(self, path: Path, config: dict[str, Any]):
        self.path, self.config = path, config
        self.settings = Settings(**config["settings"])
        self.checkpoint = Checkpoint(path=path / "state.safetensors")

    @classmethod
    def create(
        cls, path: Path, settings: Settings, data: dict[str, Any], dataset: Dataset, command: str | None = None
    ) -> Run:
        """Make a folder for a new run.

        Arguments:
            path: the folder; it may exist, but must hold no run.
            settings: how it will be fitted.
            data: how to get the data again: {"name": …} or {"path": …, "label": …}.
            dataset: the data.
            command: the words of the user that began it, for the report.

        Raises:
            RunError: the folder holds another run, or cannot be written.
        """
        taken = [name for name in _FILES if (path / name).exists()]
        if taken:
            raise RunError(
                f"{path} already holds a run ({', '.join(taken)}); choose another folder, or continue it with --resume."
            )
        config = {
            "format": _FORMAT,
            "command": command,
            "settings": settings.to_json(),
            "data": {**data, "checksum": dataset.checksum, "scaling": dataset.scaling},
            "event_shape": list(dataset.event_shape),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        }
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomically(path / "run.json", json.dumps(config, indent=2).encode())
        except OSError as error:
            raise RunError(f"Could not write to {path} ({error.strerror or error}); choose another folder.") from error
        return cls(path, config)

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run folder.

        Raises:
            RunError: there is none, or it is not of this format.
        """
        try:
            config = json.loads((path / "run.json").read_bytes())
        except OSError:
            raise RunError(f"{path} is not a run folder (it has no readable run.json).") from None
        except ValueError:
            raise RunError(
                f"{path / 'run.json'} is not readable as JSON; the folder is not a run of this library."
            ) from None
        if not isinstance(config, dict) or config.get("format") != _FORMAT:
            raise RunError(f"{path} was written in another format of run folder; this version reads format {_FORMAT}.")
        return cls(path, config)

    def dataset(self) -> Dataset:
        """The data it was fitted to.

        Raises:
            DataError: the data is gone, or is not the same any more.
        """
        dataset = load_dataset(self.config["data"])
        if self.config["data"]["checksum"] not in (dataset.checksum, dataset.legacy_checksum):
            raise DataError(
                f"The data of {self.path} ({dataset.source}) has changed since the run began; restore it or start anew."
            )
        return dataset

    def prepare(self, dataset: Dataset, engine: Engine) -> Problem:
        """The loss and the data, as they were at the start."""
        return prepare(dataset, self.settings, engine)

    def fit(self, problem: Problem, engine: Engine) -> Generator[Record, None, None]:
        """Train, or go on training, yielding records; they are written down, and the best weights at the end."""
        if engine.rank == 0:
            self._forget_after(self._checkpointed_step())
        with closing(fit(problem, self.settings, engine, self.checkpoint)) as records:  # leaving early saves
            for record in records:
                if engine.rank == 0:
                    self._append(record)
                yield record
        if engine.rank == 0:
            self.save_model(problem.loss.model, problem.transform)

    def save_model(self, model: nn.Module, transform: nn.Module) -> None:
        """Write model.safetensors.

        Raises:
            CheckpointError: the disk refused.
        """
        parts = {"model": model, "transform": transform}
        tensors = {
            f"{part}.{name}": t.detach().cpu().contiguous()
            for part, module in parts.items()
            for name, t in module.state_dict().items()
        }
        self._write("model.safetensors", save(tensors, metadata={"transform": json.dumps(_describe(transform))}))

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return (self.path / "model.safetensors").exists()

    def load_model(self) -> LatentVariableModel:
        """The model with its best weights, on the CPU, in evaluation mode.

        Raises:
            RunError: training has not come to its end.
        """
        tensors, _ = self._weights()
        with forked(_CPU):
            model = make_model(self.settings.recipe, tuple(self.config["event_shape"]), self.settings.model)
            model = with_settings(model, self.settings, tuple(self.config["event_shape"]))
        model.load_state_dict({k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
        return model.eval()

    def load_transform(self) -> Pixels | Standardize | Identity:
        """From stored rows to what the likelihood scores."""
        tensors, metadata = self._weights()
        description = json.loads(metadata["transform"])
        match description.pop("kind"):
            case "pixels":
                return Pixels(**description)
            case "standardize":
                return Standardize(tensors["transform.mean"], tensors["transform.scale"])
            case _:
                return Identity()

    def test_tensor(self, limit: int | None = None, seed: int = 0) -> Tensor:
        """Test rows as the likelihood scores them; the same draws at every call with the same seed."""
        return self.transformed(self.dataset().x_test[:limit], seed)

    def transformed(self, rows: Any, seed: int = 0) -> Tensor:
        """Stored rows (N, *event_shape) as the likelihood scores them."""
        transform = self.load_transform()
        with forked(_CPU, seed):
            return transform(torch.as_tensor(rows))

    @property
    def is_conditional(self) -> bool:
        """Whether the model is one of x given its label."""
        return recipe_named(self.settings.recipe).labels == "context"

    def context(self, labels: np.ndarray | None, name: str) -> Tensor | None:
        """What the model is conditioned on for rows with these labels (N,); None where it is conditioned on nothing.

        Arguments:
            labels: class numbers.
            name: of the rows, for the message.

        Raises:
            DataError: no labels, or a class that training has not seen.
        """
        if not self.is_conditional:
            return None
        count = self.settings.model["num_classes"]
        return one_hot(check_classes(labels, count, name), count)

    def metrics(self) -> list[dict[str, Any]]:
        """The records so far."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def evaluation(self) -> dict[str, Any] | None:
        """The scores on the test rows, if `evaluate` was run."""
        path = self.path / "evaluation.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    def save_evaluation(self, evaluation: dict[str, Any]) -> None:
        """Write evaluation.json.

        Raises:
            CheckpointError: the disk refused.
        """
        self._write("evaluation.json", json.dumps(evaluation, indent=2).encode())

    def _weights(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        path = self.path / "model.safetensors"
        if not path.exists():
            raise RunError(
                f"{self.path} has no trained model yet; finish it with `lowerbound fit --resume {self.path}`."
            )
        try:
            with safetensors.safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
            return load_file(str(path)), metadata
        except safetensors.SafetensorError as error:
            raise RunError(f"{path} is damaged ({error}); resume the run to write it again.") from None

    def _checkpointed_step(self) -> int:
        return self.checkpoint.load()[1]["step"] if self.checkpoint.exists() else 0

    def _forget_after(self, step: int) -> None:
        """Drop the records of work that was lost with a killed process; it will be done again, to the same bits."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            whole = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
            self._write("metrics.jsonl", "".join(line + "\n" for line in whole).encode())

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

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_atomically(self.path / name, content)
        except OSError as error:
            raise CheckpointError(
                f"Could not write {self.path / name} ({error.strerror or error}); what was there before is whole. "
                "Free some space and try again."
            ) from error


def load_dataset(data: dict[str, Any]) -> Dataset:
    """The data set that a description names.

    Arguments:
        data: {"name": …} for a data set of the catalogue, {"path": …, "label": …, "array": …} for a file.
    """
    if "path" in data:
        return read_file(Path(data["path"]), label=data.get("label"))
    return load(data["name"])


def _describe(transform: nn.Module) -> dict[str, Any]:
    if isinstance(transform, Pixels):
        return {"kind": "pixels", "scale": transform.scale, "binarization": transform.binarization}
    return {"kind": "standardize" if isinstance(transform, Standardize) else "identity"}


def _step_of(line: str) -> float:
    """The step of a record; a line cut short by a kill counts as lost."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("inf")
