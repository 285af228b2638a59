"""Run folders that were altered: an entry of run.json, the weights, the records, the checkpoint, a link."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

__all__ = ["altered_run"]

VALUES: list[Any] = [None, -1, 0, 10**9, 10**19, 1.5, float("nan"), "", "x" * 400, [], {}, [[1]], True, "\x1b[2J", [-1]]


def altered_run(run: Path, folder: Path, rng: random.Random) -> Path:
    """A copy of a run with one thing changed."""
    copy = shutil.copytree(run, folder / f"run-{rng.randrange(10**9)}", symlinks=True, dirs_exist_ok=True)
    ways = [_entry, _entry, _entry, _missing, _bytes, _bytes, _cut, _link, _removed, _nested, _weights, _inside]
    rng.choice(ways)(copy, rng)
    return copy


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in items for place in ((*path, key), *_places(value, (*path, key)))]


def _at(content: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        content = content[key]
    return content


def _entry(run: Path, rng: random.Random) -> None:
    content = json.loads((run / "run.json").read_text())
    if rng.random() < 0.2:
        rng.choice([content, content["plan"], content["schema"], content["data"]])["newer"] = 1
    *outer, last = rng.choice(_places(content))
    _at(content, tuple(outer))[last] = rng.choice(VALUES)
    (run / "run.json").write_text(json.dumps(content))


def _missing(run: Path, rng: random.Random) -> None:
    content = json.loads((run / "run.json").read_text())
    *outer, last = rng.choice(_places(content))
    del _at(content, tuple(outer))[last]
    (run / "run.json").write_text(json.dumps(content))


def _file(run: Path, rng: random.Random) -> Path:
    return rng.choice([path for path in sorted(run.iterdir()) if path.is_file() and path.stat().st_size])


def _bytes(run: Path, rng: random.Random) -> None:
    path = _file(run, rng)
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(min(len(content), 4000))] = rng.randrange(256)
    path.write_bytes(bytes(content))


def _cut(run: Path, rng: random.Random) -> None:
    path = _file(run, rng)
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def _removed(run: Path, rng: random.Random) -> None:
    _file(run, rng).unlink()


def _nested(run: Path, rng: random.Random) -> None:
    _file(run, rng).write_text(rng.choice(['{"a":', "["]) * 100_000)


def _weights(run: Path, rng: random.Random) -> None:
    """One tensor of infinite or enormous numbers."""
    path = run / "model.safetensors"
    with safe_open(path, "pt") as opened:
        tensors, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118
    name = rng.choice(sorted(tensors))
    value = rng.choice([float("inf"), -float("inf"), 3e38, 1e38, -1e38, 1e19])
    if tensors[name].is_floating_point():
        tensors[name] = torch.full_like(tensors[name], value)
    save_file(tensors, path, metadata)


def _inside(run: Path, rng: random.Random) -> None:
    """Something in the place of the lock or of the language model."""
    path = run / rng.choice([".lock", "language-model"])
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match rng.randrange(4):
        case 0:
            path.symlink_to(rng.choice([path, Path("/dev/zero"), run.parent, run.parent / "none"]))
        case 1:
            os.mkfifo(path)
        case 2:
            path.mkdir()
            shutil.copy(run / "run.json", path)
        case _:
            shutil.copytree(run, run.parent / "copy", dirs_exist_ok=True)
            shutil.move(run.parent / "copy", path)


def _link(run: Path, rng: random.Random) -> None:
    path = _file(run, rng)
    path.unlink()
    if rng.random() < 0.5:
        os.mkfifo(path)
    else:
        path.symlink_to(rng.choice([path, Path("/etc/passwd"), Path("/dev/zero"), run.parent]))
