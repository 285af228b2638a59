"""The two files of a run folder that a fitted model is read from: run.json and model.safetensors.

run.json holds the whole plan and schema, so that opening a run needs no default that may have changed since.
model.safetensors holds the tensors of the model and of the data transform. No other file is read to open a model,
nothing from a folder is executed, and every fault of a folder is reported in one sentence.
"""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from lowerbound import __version__
from lowerbound.data.errors import DataError
from lowerbound.data.given import dataset_of
from lowerbound.data.kinds import kind_named
from lowerbound.data.schema import Schema
from lowerbound.data.transform import Transform, describe_transform, transform_of
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.fitting.preparing import make_model, with_plan
from lowerbound.fitting.start import Start
from lowerbound.model import LatentVariableModel
from lowerbound.randomness import forked
from lowerbound.run_json import RunError, as_json, check_config, check_files, read_config
from lowerbound.runs.former_runs import from_format_1
from lowerbound.training.checkpoint import CheckpointError, require_readable, unshared, write_atomically

__all__ = [
    "FORMAT",
    "LANGUAGE_MODEL",
    "LOCK",
    "RunError",
    "describe_run",
    "is_of_a_run",
    "open_by_hand",
    "open_folder",
    "read_start",
    "read_weights",
    "run_files",
    "with_data",
    "write_model",
    "write_start",
]

FORMAT = 2
_FILES = (
    "run.json",
    "model.safetensors",
    "state.safetensors",
    "finish-state.safetensors",
    "start.safetensors",
    "metrics.jsonl",
    "evaluation.json",
    "report.html",
)
LOCK, LANGUAGE_MODEL = ".lock", "language-model"
"""What else a run folder holds: the lock of a training process, and the run of the baseline of a model of text."""
_PACKAGES = ("torch", "numpy", "zuko", "safetensors", "lightning-fabric")
_ADDED_SINCE = (".centres", ".units")  # units of mixed columns, which earlier runs did not have: 0 and 1


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _PACKAGES}


def run_files() -> tuple[str, ...]:
    """The files that show that a folder holds a run."""
    return _FILES


def is_of_a_run(path: Path) -> bool:
    """Whether a path is, or would be, one of the files of a folder that holds a run."""
    return path.name in _FILES and (path.parent / "run.json").exists()


def describe_run(
    plan: Plan | None,
    schema: Schema,
    *,
    data: dict[str, Any] | None,
    name: str,
    command: str | None = None,
    came_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of run.json; `came_from` says from which other run it began, if from one."""
    content = {
        "format": FORMAT,
        "name": name,
        "plan": None if plan is None else plan.to_json(),
        "schema": schema.to_json(),
        "data": data,
        "command": command,
        "versions": {"python": platform.python_version(), "lowerbound": __version__, **_versions()},
    }
    return content if came_from is None else {**content, "came_from": dict(came_from)}


def open_folder(path: Path) -> tuple[dict[str, Any], Plan, Schema]:
    """The content of run.json, its plan and its schema.

    Raises:
        RunError: there is no run, or it is not one that this version can open.
    """
    config = _config(path)
    if config.get("format") not in (1, FORMAT):
        raise RunError(
            f"{path} was written in another format of run folder; this version reads formats 1 and {FORMAT}."
        )
    if config["format"] == 1:
        config = _as_format_2(path, config)
    check_config(config, path / "run.json")
    if config["plan"] is None:
        raise RunError(f"{path} holds a model that was built in Python; open it with Fitted.open(path, model=...).")
    try:
        plan, schema = Plan.from_json(config["plan"]), Schema.from_json(config["schema"])
        kind_named(schema.kind)
    except ValueError as error:
        raise RunError(f"{path / 'run.json'} cannot be used: {error}") from None
    return config, plan, schema


def write_model(path: Path, model: nn.Module, transform: nn.Module, weights: str | None = None) -> None:
    """Write model.safetensors; `weights` says which weights they are, where they are not those of a finished training.

    Raises:
        CheckpointError: the disk refused.
    """
    _write_tensors(path / "model.safetensors", model, transform, weights)


def save_fitted(fitted: Fitted, path: Path) -> Path:
    """Write a fitted model to a new folder, as `Fitted.save` says."""
    taken = [name for name in run_files() if (path / name).exists()]
    if taken:
        raise RunError(f"{path} already holds a run ({', '.join(taken)}); choose another folder.")
    data = dict(fitted.config.get("data") or {})
    if fitted.has_data:
        data |= {"checksum": fitted.dataset.checksum}
    plan = None if fitted.plan is None or fitted.plan.is_python else fitted.plan
    came_from = fitted.config.get("came_from")
    content = describe_run(plan, fitted.schema, data=data, name=fitted.name, came_from=came_from)
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / "run.json", json.dumps(content, indent=2).encode(), new=True)
    except FileExistsError:
        raise RunError(f"{path} already holds a run (run.json); choose another folder.") from None
    except OSError as error:
        raise RunError(f"Could not write to {path} ({error.strerror or error}); choose another folder.") from error
    write_model(path, fitted.model, fitted.transform, fitted.weights)
    return path


def write_start(path: Path, start: Start) -> None:
    """Write start.safetensors: what a run begins from, so that it does not need the other run again.

    Raises:
        CheckpointError: the disk refused.
    """
    _write_tensors(path / "start.safetensors", start.tensors, start.transform, None)


def _write_tensors(
    file: Path, model: nn.Module | Mapping[str, Tensor], transform: nn.Module, weights: str | None
) -> None:
    parts = {"model": model, "transform": transform}
    tensors = {
        f"{part}.{name}": tensor.cpu()
        for part, module in parts.items()
        for name, tensor in (module.state_dict() if isinstance(module, nn.Module) else module).items()
    }
    metadata = {"transform": json.dumps(describe_transform(transform))}
    try:
        write_atomically(
            file, save(unshared(tensors), metadata if weights is None else {**metadata, "weights": weights})
        )
    except OSError as error:
        raise CheckpointError(
            f"Could not write {file} ({error.strerror or error}); the existing file is unchanged. "
            "Free some space and try again."
        ) from error


def read_weights(path: Path, plan: Plan, schema: Schema) -> tuple[LatentVariableModel, nn.Module, str | None]:
    """The model of a folder, its data transform, and which weights they are if training did not come to its end.

    All is on the CPU; the file is opened once.

    Raises:
        RunError: there are no weights yet, or the file does not belong to the plan.
    """
    tensors, metadata = _weights(path)
    try:
        with forked(torch.device("cpu")):
            model = with_plan(make_model(plan, schema.event_shape), plan, schema.event_shape)
    except ValueError as error:
        raise RunError(f"The model of {path} cannot be made again: {error}") from None
    _check_vocabulary(model, schema, path)
    load_into(model, _of_model(tensors), path)
    return model.eval(), _transform(metadata, tensors, schema, path), metadata.get("weights")


def read_start(path: Path, plan: Plan, schema: Schema, origin: Mapping[str, Any]) -> Start:
    """What a run began from.

    Raises:
        RunError: the file is missing or damaged.
    """
    file = path / "start.safetensors"
    if not file.is_file():
        raise RunError(f"{path} has no start.safetensors, from which it began; begin it again in another folder.")
    tensors, metadata = _tensors(file)
    transform = _transform(metadata, tensors, schema, path)
    return Start(tensors=_of_model(tensors), transform=transform, schema=schema, plan=plan, origin=origin)


def open_by_hand(path: Path, model: LatentVariableModel) -> Fitted:
    """A model that was built in Python, with the weights that `Fitted.save` wrote.

    Raises:
        RunError: the folder holds no such weights.
    """
    config = _config(path)
    check_config(config, path / "run.json")
    try:
        schema = Schema.from_json(config["schema"])
    except ValueError as error:
        raise RunError(f"{path / 'run.json'} cannot be used: {error}") from None
    tensors, metadata = _weights(path)
    _check_vocabulary(model, schema, path)
    load_into(model, _of_model(tensors), path)
    transform = _transform(metadata, tensors, schema, path)
    return Fitted(model, schema=schema, transform=transform, name=config.get("name"), folder=path, config=config)


def with_data(fitted: Fitted, data: Any, y: Any = None) -> Fitted:
    """The same fitted model, that knows the data it was fitted to.

    Raises:
        DataError: it knows them already, or they are others.
    """
    if fitted.has_data:
        raise DataError(f"{fitted.called} knows its data; leave data out, or give other rows to evaluate and score.")
    dataset = dataset_of(data, y, schema=fitted.schema)
    checksum = (fitted.config.get("data") or {}).get("checksum")
    if checksum is not None and checksum != dataset.checksum:
        raise DataError(
            f"{dataset.name} is not what {fitted.called_within} was fitted to; give the same rows and labels."
        )
    return Fitted(
        fitted.model,
        schema=fitted.schema,
        plan=fitted.plan,
        recipe=fitted.recipe,
        transform=fitted.transform,
        name=fitted.name,
        data=dataset,
        records=fitted.records,
        notes=fitted.notes,
        scores=fitted.scores,
        folder=fitted.folder,
        config=fitted.config,
    )


def load_into(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load weights into a model.

    Raises:
        RunError: they are those of another model, or not finite.
    """
    added_since = {name: value for name, value in model.state_dict().items() if name.endswith(_ADDED_SINCE)}
    try:
        model.load_state_dict({**added_since, **tensors})
    except RuntimeError:
        raise RunError(f"The weights in {path} do not fit the model of its run.json; one was altered.") from None
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            what = "NaN" if bool(tensor.isnan().any()) else "infinity"
            raise RunError(
                f"The weights in {path} hold {what} ({name}); fit the model again, with a smaller learning rate."
            )


def _check_vocabulary(model: LatentVariableModel, schema: Schema, path: Path) -> None:
    """Refuse a vocabulary of another size than that of the tokens of the model.

    Raises:
        RunError: naming both sizes.
    """
    tokens = getattr(model.likelihood, "num_symbols", None)
    if schema.text is not None and tokens is not None and tokens != len(schema.text.symbols):
        raise RunError(
            f"The vocabulary in {path / 'run.json'} has {len(schema.text.symbols):,} symbols and the model {tokens:,}; "
            "one was altered."
        )


def _of_model(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")}


def _transform(metadata: Mapping[str, str], tensors: dict[str, Tensor], schema: Schema, path: Path) -> Transform:
    own = {k.removeprefix("transform."): t for k, t in tensors.items() if k.startswith("transform.")}
    try:
        transform = transform_of(as_json(metadata["transform"]), own)
        if transform(torch.zeros(1, *schema.event_shape)).shape[1:] != schema.event_shape:
            raise ValueError("another shape")
        return transform
    except (ValueError, KeyError, TypeError, RuntimeError):
        raise RunError(
            f"The data transform in {path / 'model.safetensors'} is not readable; fit the model again."
        ) from None


def _weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    file = path / "model.safetensors"
    if not file.is_file():
        again = shlex.join(["lowerbound", "fit", "--resume", str(path)])
        raise RunError(f"The run has no trained model yet; finish it with `{again}`.")
    return _tensors(file)


def _tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        require_readable(file)
        with safetensors.safe_open(str(file), framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dictionary
            return tensors, opened.metadata() or {}
    except PermissionError as error:
        raise RunError(f"{file} is not readable ({error.strerror or error}).") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(f"{file} is damaged ({error}); resume the run to write it again.") from None


def _as_format_2(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    try:
        return from_format_1(path, config)
    except RunError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError):
        raise RunError(
            f"{path / 'run.json'}, of format 1, was altered or cut short; restore it or start anew."
        ) from None


def _config(path: Path) -> dict[str, Any]:
    check_files(path, (*_FILES, LOCK), (LANGUAGE_MODEL,))
    return read_config(path)
