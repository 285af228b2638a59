"""The JSON of a run folder, read with its types: run.json, metrics.jsonl, evaluation.json.

A folder may come from somebody else, from a newer version, or from a process that was killed. What is read here is of
the type that the rest of the library expects, or is refused in one sentence that names the file and the entry. The plan
and the schema inside of run.json check themselves (`Plan.from_json`, `Schema.from_json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowerbound.criterion import criterion_of
from lowerbound.typed import WrongType, as_annotated

__all__ = ["RunError", "as_json", "check_config", "check_files", "read_config", "read_evaluation", "record_of"]

_LARGEST = 2**26
_CONFIG: dict[str, Any] = {
    "name": str,
    "plan": dict | None,
    "schema": dict,
    "data": dict,
    "versions": dict,
    "command": str | None,
}
_NEEDED = ("name", "plan", "schema", "data", "versions")  # runs that were saved from Python held no command before
_DATA: dict[str, Any] = {"checksum": str | None, "name": str, "path": str, "columns": dict | None}
_DATA["covariates"] = list[str] | None
_DATA |= dict.fromkeys(
    ("label", "array", "kind", "series", "time"), str | None
)  # no checksum: a model that was saved without its data
_CAME_FROM = {"run": str, "step": int | None, "weights": str | None, "changed": Mapping | None}
_RECORD: dict[str, Any] = {"step": int, "epoch": float, "seconds": float, "learning_rate": float, "terms": Mapping}
_RECORD |= {"gradient_norm": float | None}
_NEEDED_OF_RECORD = tuple(_RECORD)
_RECORD |= {"held_out": Mapping | None, "is_best": bool, "stopped": str | None, "note": str | None, "stage": int}
_SCORE = float | int | None
_EVALUATION: dict[str, Any] = dict.fromkeys(
    ("elbo", "log_evidence", "log_evidence_standard_error", "bits_per_dim", "rate", "distortion", "pareto_k_above_07"),
    _SCORE,
)
_EVALUATION |= dict.fromkeys(("acceptance", "sampling_error"), _SCORE)
_COUNTS = ("num_distributions", "num_samples", "active_units", "latent_dim", "num_dimensions", "num_data")
_EVALUATION |= dict.fromkeys(_COUNTS, int | None)
_EVALUATION |= {
    "kl_per_dimension": list[float] | None,
    "rate_of_parts": Mapping | None,
    "baselines": Mapping | None,
    "baselines_left_out": dict[str, str] | None,
    "codes": Mapping | None,
    "quality": Mapping | None,
}


class RunError(ValueError):
    """A run folder that cannot be made or opened, in one sentence."""


def check_files(folder: Path, names: tuple[str, ...], folders: tuple[str, ...] = ()) -> None:
    """Refuse a folder in which one of these names is a link out of it, or something else than a file (or a folder).

    Arguments:
        folder: of the run.
        names: of files; each may be missing.
        folders: names of folders inside, alike.

    Raises:
        RunError: naming it.
    """
    for name in (*names, *folders):
        file = folder / name
        try:
            leads_out = file.is_symlink() and file.resolve().parent != folder.resolve()
            strange = file.exists() and not (file.is_dir() if name in folders else file.is_file())
        except (OSError, RuntimeError, ValueError):  # a loop of links, a folder without permission, a name too long
            raise RunError(f"{_name(folder)} is not a run folder (it has no readable run.json).") from None
        if leads_out:
            raise RunError(f"{_name(file)} is a link that leads out of the run folder; put what it leads to there.")
        if strange:
            expected = "folder" if name in folders else "regular file"
            raise RunError(f"{_name(file)} is not a {expected}; the folder is not a run of this library.")


def read_config(folder: Path) -> dict[str, Any]:
    """The content of run.json: of the right types but for the plan and the schema.

    Raises:
        RunError: there is none, or it was altered.
    """
    file = folder / "run.json"
    try:
        if not file.is_file():
            raise FileNotFoundError
        content = _parsed(file)
    except OSError:
        raise RunError(f"{_name(folder)} is not a run folder (it has no readable run.json).") from None
    if not isinstance(content, dict):
        raise RunError(f"{_name(file)} does not hold a run of this library.")
    return content


def check_config(content: dict[str, Any], file: Path) -> None:
    """Refuse a run.json without one of its parts, or with one of another type than `folders.describe_run` gives.

    Raises:
        RunError: naming the part.
    """
    data = content["data"] if isinstance(content.get("data"), dict) else {}
    of_data = ("checksum",) if {"path", "name"} & set(data) else ()  # a model that was saved without its data has none
    for holder, kinds, needed, words in (
        (content, _CONFIG, _NEEDED, "{!r}"),
        (data, _DATA, of_data, "the {!r} of its data"),
    ):
        for name, kind in kinds.items():
            part = words.format(name)
            if name not in holder and name in needed:
                raise RunError(f"{_name(file)} lacks {part}; it was altered or cut short: restore it or start anew.")
            if name not in holder:
                continue
            try:
                as_annotated(holder[name], kind)
            except WrongType as error:
                found = repr(holder[name])[:40]
                raise RunError(f"{_name(file)} was altered: {part} is {found}, {error}; restore it.") from None
    for column, kind in (data.get("columns") or {}).items():
        _typed({column: kind}, {column: str}, file)
    came_from = content.get("came_from")
    if came_from is not None:
        if not isinstance(came_from, Mapping):
            raise RunError(f"{_name(file)} was altered ('came_from' is no object); restore it or start anew.")
        _typed(came_from, _CAME_FROM, file, needed=("run",))


def record_of(line: str) -> dict[str, Any] | None:
    """A record of training; None for a line that was cut short by a kill, or altered."""
    record, file = as_json(line), Path("metrics.jsonl")
    if not isinstance(record, dict):
        return None
    try:
        _typed(record, _RECORD, file, needed=_NEEDED_OF_RECORD)
        for name in ("terms", "held_out"):
            _numbers(record.get(name), file, name)
    except RunError:
        return None
    criterion, held_out = criterion_of(record["terms"]), record.get("held_out")
    is_whole = criterion in record["terms"] and (held_out is None or criterion in held_out)
    return record if is_whole else None


def read_evaluation(file: Path) -> dict[str, Any]:
    """The scores.

    Raises:
        RunError: it was altered or cut short.
    """
    again = "; delete it and run evaluate again."
    try:
        content = _parsed(file)
        if not isinstance(content, dict):
            raise RunError(f"{_name(file)} holds no scores")
        _typed(content, _EVALUATION, file)
        for name, baseline in (content.get("baselines") or {}).items():
            if not isinstance(baseline, Mapping):
                raise RunError(f"{_name(file)} was altered (baseline {name[:40]!r})")
            _typed(baseline, {"log_likelihood": float}, file, needed=("log_likelihood",))
    except OSError as error:
        raise RunError(f"{_name(file)} is not readable ({error.strerror or error}){again}") from None
    except RunError as error:
        raise RunError(f"{str(error).partition(';')[0]}{again}") from None
    return content


def as_json(text: str | bytes) -> Any:
    """What a text says as JSON; None where it is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parsed(file: Path) -> Any:
    if file.stat().st_size > _LARGEST:
        raise RunError(f"{_name(file)} is larger than any run writes; the folder is not a run of this library.")
    content = as_json(file.read_bytes())
    if content is None:
        raise RunError(f"{_name(file)} is not readable as JSON; the folder is not a run of this library.")
    return content


def _typed(
    content: Mapping[str, Any], annotations: Mapping[str, Any], file: Path, needed: tuple[str, ...] = ()
) -> None:
    """Refuse an entry of another type, or one that is missing and needed."""
    missing = [name for name in needed if name not in content]
    if missing:
        raise RunError(f"{_name(file)} was altered or cut short (no {missing[0]!r}); restore it or start anew.")
    for name, annotation in annotations.items():
        if name not in content:
            continue
        try:
            as_annotated(content[name], annotation)
        except WrongType as error:
            raise RunError(f"{_name(file)} was altered ({name}: {error}); restore it or start anew.") from None


def _numbers(terms: Mapping[str, Any] | None, file: Path, name: str) -> None:
    """Refuse terms without a criterion, or with one that is no number."""
    if terms is None:
        return
    whole = all(isinstance(value, int | float) and not isinstance(value, bool) for value in terms.values())
    if criterion_of(terms) not in terms or not whole:
        raise RunError(f"{_name(file)} was altered ({name} are no numbers); restore it, or delete it.")


def _name(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 120 else f"...{text[-117:]}"
