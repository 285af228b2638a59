"""A file of 20 GiB is fitted in memory for one window, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lowerbound.data.on_disk import WINDOW

_ROWS, _SIDE = 5 * 2**20, 64  # 20 GiB of bytes, which take no room where nothing was written

_FIT = """
import json, resource, sys
from lowerbound.cli import main
code = main(["fit", sys.argv[1], "--steps", "3", "--batch-size", "32", "--hidden", "8", "--latent-dim", "2",
             "--no-compile", "--no-evaluate", "--likelihood", "bernoulli", "--out", sys.argv[2]])
print(json.dumps([code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def _sparse_file(path: Path) -> None:
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(_ROWS, _SIDE, _SIDE))
    some = np.random.default_rng(0).integers(0, 256, (64, _SIDE, _SIDE), dtype=np.uint8)
    for first in range(0, _ROWS, _ROWS // 16):
        rows[first : first + 64] = some


@pytest.mark.slow
def test_a_file_of_20_gib_takes_the_memory_of_a_window(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    _sparse_file(path)
    assert path.stat().st_size > 20 * 2**30
    assert os.stat(path).st_blocks * 512 < 2**30
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", _FIT, str(path), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    code, largest = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert largest <= 1.2 * WINDOW
