"""`make fuzz N=5000 SEED=1`: run so many inputs, count the faults, write those down that had one.

    python -m fuzz N SEED [FOLDER] [INDEX]

With an index that input alone is run again, and its answer printed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from .case import faults
from .commands import case
from .material import make_material
from .runner import run

_MEMORY = 12 * 2**30


def main(count: int, seed: int, failures: Path, only: int | None) -> int:
    torch.set_num_threads(1)
    _limit_memory()
    found, kinds, seconds, started = Counter(), Counter(), Counter(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        material = make_material(Path(name))
        os.chdir(name)
        for index in range(count) if only is None else [only]:
            made = case(seed, index, material)
            answer = run(made)
            kinds[made.kind] += 1
            seconds[f"{index} {made.kind}"] = answer.seconds
            wrong = faults(made, answer)
            found.update(wrong)
            if wrong or only is not None:
                _write(failures, seed, index, wrong, made.to_json(), vars(answer))
                print(f"{index} {made.kind} {wrong} {[w[:60] for w in made.words]} {answer.code} {answer.err[:300]!r}")
                print(answer.traceback[-700:], flush=True)
            _tidy(material.folder)
    print(f"seed {seed}: {sum(kinds.values())} inputs {dict(kinds)} in {time.monotonic() - started:.0f} s")
    print("slowest: " + ", ".join(f"{name} {s:.1f} s" for name, s in seconds.most_common(5)))
    print("faults: " + (", ".join(f"{n} {name}" for name, n in sorted(found.items())) or "none"))
    return 1 if found else 0


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _write(failures: Path, seed: int, index: int, wrong: list[str], *parts: object) -> None:
    failures.mkdir(parents=True, exist_ok=True)
    content = json.dumps(
        {"seed": seed, "index": index, "faults": wrong, "case": parts[0], "answer": parts[1]}, indent=1
    )
    (failures / f"{seed}-{index}.json").write_text(content)


def _tidy(folder: Path) -> None:
    """Remove what cases leave behind; the material stays."""
    for path in folder.iterdir():
        if path.name.split("-")[0] in ("out", "file", "run", "z", "o", "f", "s", "d", "l") or path.name.startswith(
            "s0."
        ):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    where = Path(given[2]).resolve() if len(given) > 2 else Path("build/fuzz").resolve()
    sys.exit(main(int(given[0]), int(given[1]), where, int(given[3]) if len(given) > 3 else None))
