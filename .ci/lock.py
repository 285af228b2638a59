"""Cut what `uv pip compile` gave into requirements.lock and requirements-cuda.lock (see `make lock`).

    python .ci/lock.py COMPILED TORCH_WHEEL

The wheel is the build of torch that pip finds on this machine, whose hash joins those of the index. What only builds of
torch for an accelerator need goes to the second file, so that others need not fetch some gigabytes.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

_ACCELERATED = ("nvidia-", "cuda-", "triton==")
_HEAD = "# Made by `make lock` from pyproject.toml and constraints.txt; SECURITY.md says how to install from it.\n"


def main(compiled: Path, wheel: Path) -> None:
    """Write both files."""
    found: dict[bool, list[str]] = {False: [], True: []}
    for block in re.split(r"\n(?=[A-Za-z])", compiled.read_text().strip()):
        if block.startswith("torch=="):
            block = _with_hash(block, hashlib.sha256(wheel.read_bytes()).hexdigest())
        found[block.startswith(_ACCELERATED)].append(block)
    for accelerated, name in ((False, "requirements.lock"), (True, "requirements-cuda.lock")):
        Path(name).write_text(_HEAD + "\n".join(found[accelerated]) + "\n")


def _with_hash(block: str, digest: str) -> str:
    return block if digest in block else f"{block} \\\n    --hash=sha256:{digest}"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
