"""Sharing a run: as a repository of a model hub, or as a folder.

Shared are the plan, the schema, the weights, the records, the scores and a card; not the data, nor checkpoints, nor
paths of this machine. What is taken from a hub is opened and checked like any run folder before it gets its place:
no pickle, no code, no links, no other files.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lowerbound.run_json import RunError
from lowerbound.runs import Run
from lowerbound.runs.folders import run_files
from lowerbound.training.checkpoint import write_atomically
from lowerbound.verbs.model_card import model_card
from lowerbound.whole_folder import write_folder

__all__ = ["HubError", "is_folder", "pull", "push"]

_NEEDED = ("run.json", "model.safetensors")
_SHARED = (*_NEEDED, "metrics.jsonl", "evaluation.json")
_CARD = "README.md"
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_LONGEST = 200


class HubError(ValueError):
    """What a hub or a folder did not take or give, in one sentence."""


def is_folder(place: str) -> bool:
    """Whether a place is written as a folder: with ./, ../, ~ or / in front; anything else is ORG/NAME of a hub."""
    return place.startswith((".", "~", "/")) or os.path.isabs(place)


def push(
    run: str | Path, place: str, *, private: bool = False, force: bool = False, endpoint: str | None = None
) -> str:
    """Share a trained run.

    Arguments:
        run: its folder.
        place: ORG/NAME of a hub, or a folder ("./shared/digits").
        private: whether a repository that is made is private.
        force: whether files that are there are replaced.
        endpoint: address of the hub; that of HF_ENDPOINT, or the usual one, if None.

    Returns:
        Where it is now.

    Raises:
        RunError: no trained run.
        HubError: the place is taken, has no good name, or refused.
    """
    opened = Run.open(run)
    fitted = opened.fitted()
    _check_place(place)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in _SHARED[1:]:
            if (opened.path / name).is_file():
                shutil.copyfile(opened.path / name, folder / name)
        content = json.loads((opened.path / "run.json").read_text())
        write_atomically(folder / "run.json", json.dumps(_without_paths(content), indent=2).encode())
        write_atomically(folder / _CARD, model_card(fitted, place).encode())
        if is_folder(place):
            return str(_copied(folder, Path(place).expanduser(), force=force))
        return _uploaded(folder, place, private=private, force=force, endpoint=endpoint)


def pull(place: str, out: str | Path, *, endpoint: str | None = None) -> Path:
    """Take a shared run and check it as every run folder is.

    Arguments:
        place: as for `push`.
        out: the run folder to make.
        endpoint: as for `push`.

    Raises:
        HubError: the place gives no run, or `out` is taken.
        RunError: what it gives is no run that this version can open.
    """
    out = Path(out)
    if os.path.exists(out) and (not out.is_dir() or any(out.iterdir())):
        raise HubError(f"{out} is there already; choose another folder.")
    _check_place(place)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "run"
        folder.mkdir()
        if is_folder(place):
            _taken_from(Path(place).expanduser(), folder)
        else:
            _downloaded(place, folder, endpoint)
        try:
            Run.open(folder).fitted()
        except RunError as error:
            raise RunError(str(error).replace(str(folder), place)) from None
        return _copied(folder, out, force=False)


def _check_place(place: str) -> None:
    if not is_folder(place) and not _NAME.fullmatch(place):
        raise HubError(f"{place[:60]!r} is neither ORG/NAME of a hub nor a folder such as ./shared/digits.")


def _without_paths(content: dict[str, Any]) -> dict[str, Any]:
    """run.json with names of files in place of their paths on this machine, and without the command line."""
    told = {**content, "command": None}
    data = content.get("data") or {}
    if data.get("path") is not None:
        told["data"] = {**data, "path": Path(data["path"]).name}
    came_from = content.get("came_from")
    if came_from is not None:
        told["came_from"] = {**came_from, "run": Path(came_from["run"]).name}
    return told


def _copied(folder: Path, place: Path, *, force: bool) -> Path:
    taken = [name for name in (*run_files(), _CARD) if os.path.exists(place / name)]
    if taken and not force:
        raise HubError(f"{place} holds {taken[0]} already; choose another folder, or replace it with --force.")
    try:
        write_folder(place, {file.name: file for file in sorted(folder.iterdir())}, force=force)
    except OSError as error:
        raise HubError(f"Could not write to {place} ({error.strerror or error}); choose another folder.") from error
    return place


def _taken_from(place: Path, folder: Path) -> None:
    """Copy the files of a run that are regular files; links are refused."""
    for name in (*_SHARED, _CARD):
        file = place / name
        if os.path.islink(file):
            raise HubError(f"{file} is a link; a shared run has regular files.")
        try:
            if os.path.isfile(file):
                shutil.copyfile(file, folder / name)
        except OSError as error:
            raise HubError(f"{file} is not readable ({error.strerror or error}).") from None
    _require_needed(folder, str(place))


def _require_needed(folder: Path, place: str) -> None:
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise HubError(f"{place} holds no shared run: it has no {name}.")


def _uploaded(folder: Path, place: str, *, private: bool, force: bool, endpoint: str | None) -> str:
    hub = _hub()
    api = hub.HfApi(endpoint=endpoint)
    with _answers(place):
        api.create_repo(place, private=private, exist_ok=True)
        there = set(api.list_repo_files(place)) & {*_SHARED, _CARD}
        if there and not force:
            raise HubError(f"{place} holds {min(there)} already; choose another name, or replace it with --force.")
        api.upload_folder(repo_id=place, folder_path=str(folder), commit_message="A run of lowerbound")
    return f"{api.endpoint}/{place}"


def _downloaded(place: str, folder: Path, endpoint: str | None) -> None:
    """The files of a shared run and no others."""
    hub = _hub()
    with tempfile.TemporaryDirectory() as cache, _answers(place):
        given = {"local_dir": cache, "endpoint": endpoint}
        there = set(hub.HfApi(endpoint=endpoint).list_repo_files(place))
        for name in (*_SHARED, _CARD):
            if name in there:
                shutil.copyfile(hub.hf_hub_download(place, name, **given), folder / name)
    _require_needed(folder, place)


def _hub() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise HubError(
            "A hub needs the package huggingface_hub; install it: pip install huggingface_hub, or name a folder "
            "(./shared/digits)."
        )
    return importlib.import_module("huggingface_hub")


@contextmanager
def _answers(place: str) -> Iterator[None]:
    """Turn what a hub or the network says into one sentence; attempts that are made again are not printed."""
    utils, errors = (importlib.import_module(f"huggingface_hub.{name}") for name in ("utils", "errors"))
    client = importlib.import_module(type(utils.get_session()).__module__.partition(".")[0])
    before = utils.logging.get_verbosity()
    utils.logging.set_verbosity_error()
    try:
        yield
    except _unreachable(client) as error:
        raise HubError(f"The hub cannot be reached for {place} ({_said(error)}); check the connection.") from None
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, client.HTTPError, OSError) as error:
        told = f"The hub refused {place} ({_said(error)}); see that you are logged in and the name is right."
        raise HubError(told) from None
    finally:
        utils.logging.set_verbosity(before)


def _unreachable(client: Any) -> tuple[type[Exception], ...]:
    """What the client of the hub, which differs between its versions, raises where no server answers."""
    names = {"requests": ("ConnectionError", "Timeout")}.get(client.__name__, ("ConnectError", "TimeoutException"))
    return tuple(getattr(client, name) for name in names)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__
