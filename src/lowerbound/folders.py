"""The two files of a run folder that a fitted model is read from: run.json and model.safetensors.

run.json holds the whole plan and schema, so that opening a run needs no default that may have changed since.
model.safetensors holds the tensors of the model and of the data transform. No other file is read to open a model,
nothing from a folder is executed, and every fault of a folder is reported in one sentence.
"""

from __future__ import annotations

import json
import platform
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from lowerbound.checkpoint import CheckpointError, write_atomically
from lowerbound.data.schema import Schema
from lowerbound.data.transform import describe_transform, transform_of
from lowerbound.fitted import Fitted
from lowerbound.fitting import make_model, with_plan
from lowerbound.former_runs import from_format_1
from lowerbound.model import LatentVariableModel
from lowerbound.planning import Plan
from lowerbound.randomness import forked
from lowerbound.typed import WrongType, as_annotated

__all__ = [
    "FORMAT",
    "RunError",
    "describe_run",
    "open_by_hand",
    "open_folder",
    "read_weights",
    "run_files",
    "write_model",
]

FORMAT = 2
_FILES = ("run.json", "model.safetensors", "state.safetensors", "metrics.jsonl", "evaluation.json", "report.html")
_PACKAGES = ("lowerbound", "torch", "numpy", "zuko", "safetensors", "lightning-fabric")
_LARGEST_JSON = 2**26
_ADDED_SINCE = (".centres", ".units")  # units of mixed columns, which earlier runs did not have: 0 and 1


_PARTS: dict[str, Any] = {
    "name": str,
    "plan": dict | None,
    "schema": dict,
    "data": dict,
    "versions": dict,
    "command": str | None,
}
_OF_DATA: dict[str, Any] = {
    "checksum": str | None,  # None for a model that was saved without its data
    "name": str,
    "path": str,
    "label": str | None,
    "array": str | None,
    "kind": str | None,
    "columns": dict | None,
}
_NEEDED = ("name", "plan", "schema", "data", "versions")  # runs that were saved from Python held no command before


class RunError(ValueError):
    """A run folder that cannot be made or opened, in one sentence."""


def run_files() -> tuple[str, ...]:
    """The files that show that a folder holds a run."""
    return _FILES


def describe_run(
    plan: Plan | None, schema: Schema, *, data: dict[str, Any], name: str, command: str | None = None
) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "format": FORMAT,
        "name": name,
        "plan": None if plan is None else plan.to_json(),
        "schema": schema.to_json(),
        "data": data,
        "command": command,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
    }


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
    _check_parts(path, config)
    if config["plan"] is None:
        raise RunError(f"{path} holds a model that was built in Python; open it with Fitted.open(path, model=...).")
    try:
        plan, schema = Plan.from_json(config["plan"]), Schema.from_json(config["schema"])
    except ValueError as error:
        raise RunError(f"{path / 'run.json'} cannot be used: {error}") from None
    return config, plan, schema


def write_model(path: Path, model: nn.Module, transform: nn.Module) -> None:
    """Write model.safetensors.

    Raises:
        CheckpointError: the disk refused.
    """
    parts = {"model": model, "transform": transform}
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    content = save(tensors, metadata={"transform": json.dumps(describe_transform(transform))})
    try:
        write_atomically(path / "model.safetensors", content)
    except OSError as error:
        raise CheckpointError(
            f"Could not write {path / 'model.safetensors'} ({error.strerror or error}); the existing file is "
            "unchanged. Free some space and try again."
        ) from error


def read_weights(path: Path, plan: Plan, schema: Schema) -> tuple[LatentVariableModel, nn.Module]:
    """The model of a folder and its data transform, on the CPU; the file is opened once.

    Raises:
        RunError: training has not come to its end, or the file does not belong to the plan.
    """
    tensors, description = _weights(path)
    try:
        with forked(torch.device("cpu")):
            model = with_plan(make_model(plan, schema.event_shape), plan, schema.event_shape)
    except ValueError as error:
        raise RunError(f"The model of {path} cannot be made again: {error}") from None
    load_into(model, {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")}, path)
    return model.eval(), _transform(description, tensors, path)


def open_by_hand(path: Path, model: LatentVariableModel) -> Fitted:
    """A model that was built in Python, with the weights that `Fitted.save` wrote.

    Raises:
        RunError: the folder holds no such weights.
    """
    config = _config(path)
    _check_parts(path, config)
    try:
        schema = Schema.from_json(config["schema"])
    except ValueError as error:
        raise RunError(f"{path / 'run.json'} cannot be used: {error}") from None
    tensors, description = _weights(path)
    load_into(model, {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")}, path)
    transform = _transform(description, tensors, path)
    return Fitted(model, schema=schema, transform=transform, name=config.get("name"), folder=path, config=config)


def load_into(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load weights into a model.

    Raises:
        RunError: they are those of another model, or hold NaN.
    """
    added_since = {name: value for name, value in model.state_dict().items() if name.endswith(_ADDED_SINCE)}
    try:
        model.load_state_dict({**added_since, **tensors})
    except RuntimeError:
        raise RunError(f"The weights in {path} do not fit the model of its run.json; one was altered.") from None
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and bool(tensor.isnan().any())]
    if bad:
        raise RunError(f"The weights in {path} hold NaN ({bad[0]}); fit the model again, with a smaller learning rate.")


def _transform(description: str, tensors: dict[str, Tensor], path: Path) -> nn.Module:
    own = {k.removeprefix("transform."): t for k, t in tensors.items() if k.startswith("transform.")}
    try:
        return transform_of(json.loads(description), own)
    except (ValueError, KeyError, TypeError):
        raise RunError(
            f"The data transform in {path / 'model.safetensors'} is not readable; fit the model again."
        ) from None


def _weights(path: Path) -> tuple[dict[str, Tensor], str]:
    file = path / "model.safetensors"
    if not file.is_file():
        again = shlex.join(["lowerbound", "fit", "--resume", str(path)])
        raise RunError(f"The run has no trained model yet; finish it with `{again}`.")
    try:
        with safetensors.safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dictionary
        return tensors, metadata.get("transform", "null")
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


def _check_parts(path: Path, config: dict[str, Any]) -> None:
    """Refuse a run.json without one of its parts, or with one of another type.

    Raises:
        RunError: naming the part.
    """
    data = config["data"] if isinstance(config.get("data"), dict) else {}
    needed = (*_NEEDED, "checksum") if {"path", "name"} & set(data) else _NEEDED
    parts = [(config, name, f"{name!r}", kind) for name, kind in _PARTS.items()]
    parts += [(data, name, f"the {name!r} of its data", kind) for name, kind in _OF_DATA.items()]
    for holder, name, words, kind in parts:
        if name not in holder and name in needed and (holder is config or name == "checksum"):
            raise RunError(f"{path / 'run.json'} lacks {words}; it was altered or cut short: restore it or start anew.")
        if name not in holder:
            continue
        try:
            as_annotated(holder[name], kind)
        except WrongType as error:
            raise RunError(
                f"{path / 'run.json'} was altered: {words} is {repr(holder[name])[:40]}, {error}; restore it or "
                "start anew."
            ) from None


def _config(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    try:
        if not file.is_file():
            raise RunError(f"{path} is not a run folder (it has no readable run.json).")
        if file.stat().st_size > _LARGEST_JSON:
            raise RunError(f"{file} is larger than any plan; the folder is not a run of this library.")
        config = json.loads(file.read_bytes())
    except OSError:
        raise RunError(f"{path} is not a run folder (it has no readable run.json).") from None
    except RunError:
        raise
    except (ValueError, RecursionError):
        raise RunError(f"{file} is not readable as JSON; the folder is not a run of this library.") from None
    if not isinstance(config, dict):
        raise RunError(f"{file} does not hold a run of this library.")
    return config
