"""Molecules a second: read and taken apart by one process and by two, trained on, and drawn as SMILES.

Molecules of the training part of MOSES, at equal distances. They are read by a process of its own with an empty cache,
whose seconds pass; those of training and of drawing are of the chosen clock. Training is some steps after the first
ones. Draws are those of a fitted run.

python benchmarks/molecules.py --molecules 20000 --run runs/moses-budget/fragments
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import CLOCKS, RESULTS, machine

from lowerbound.data import read_file, two_readers
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_smiles
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.smiles import read_molecules
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.runs import Run

ENCODERS = ("lstm", "bag-of-words", "message-passing")
NETS = {"latent_dim": 32, "embedding_dim": 64, "width": 128, "dropout": 0.0, "batch_size": 128}
LOGGED, TIMES = 10, 2  # steps of a record, and records that are timed


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=20_000)
    parser.add_argument("--run", type=Path, help="a fitted run, whose draws are timed")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, default=RESULTS / "molecules.json")
    parser.add_argument("--read", type=Path, help="only this file, in this process and --processes - 1 others")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    if given.read:
        print(seconds_of_reading(given.read, given.processes))
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = read_smiles(needed("moses_zinc_train.smi.txt.gz"), None).x
        path = Path(folder) / "molecules.smi"
        path.write_text("\n".join(lines[:: len(lines) // given.molecules][: given.molecules]) + "\n")
        found: dict[str, Any] = {"protocol": __doc__, "machine": machine(), "molecules": given.molecules}
        found["read a second"] = {
            n: round(given.molecules / in_a_process_of_its_own(path, n, f"{folder}/cache-{n}")) for n in (1, 2)
        }
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache-1"
        found |= {"clock": given.clock, "trained on a second": trained_on(path, CLOCKS[given.clock])}
    if given.run is not None:
        fitted, now = Run.open(given.run).fitted(), CLOCKS[given.clock]
        begun = now()
        texts_in(fitted.sample(given.draws))
        found["drawn as SMILES a minute"] = round(60 * given.draws / (now() - begun))
    print(json.dumps(found, indent=2))
    given.out.write_text(json.dumps(found, indent=2) + "\n")


def in_a_process_of_its_own(path: Path, processes: int, cache: str) -> float:
    """Seconds that it takes to read a file of molecules with an empty cache."""
    command = [sys.executable, __file__, "--read", str(path), "--processes", str(processes)]
    done = subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": cache}, capture_output=True, check=True)
    return float(done.stdout)


def seconds_of_reading(path: Path, processes: int) -> float:
    """Seconds that pass."""
    two_readers._cores = lambda: processes
    lines = path.read_text().split()
    begun = time.perf_counter()
    read_molecules(lines)
    return time.perf_counter() - begun


def trained_on(path: Path, now: Callable[[], float]) -> dict[str, int]:
    """Molecules a second in training, by encoder."""
    dataset, found = read_file(path), {}
    for encoder in ENCODERS:
        planned = plan(dataset, recipe="molecule-vae", steps=20 * LOGGED, encoder=encoder, **NETS)
        records = fit(prepare(dataset, planned, planned.engine()), planned, planned.engine())
        next(records)
        begun = now()
        for _ in range(TIMES):
            next(records)
        found[encoder] = round(TIMES * LOGGED * planned.batch_size / (now() - begun))
    return found


if __name__ == "__main__":
    main()
