"""CPU seconds of the recipe `cells` and of scvi-tools, in turns in one process; scores at equal epochs and equal time.

    epoch       CPU seconds an epoch: those of a long fit less those of a short one, by the difference of their epochs
    start       what is left of the short fit: everything before the first epoch and after the last
    score       log p(x | l) of held-out cells, nats, L_1000, the library given to both (see `cells`)

pbmc68k: 700 cells of 765 genes. generated: 3,000 cells of 1,000 genes, negative binomials of two types in two batches.
Both have the same widths, batches of 128, one thread, and a validation share of one cell in ten. Medians over repeats,
each of which times all fits one after another. CPU seconds hardly depend on what else the machine does, seconds do.

At equal epochs both are trained for 1,500 steps on four in five cells of pbmc68k, and of 1,500 generated cells of 300
genes. At equal time ours gets more steps by the ratio of the CPU seconds of both, start included: fewer than would fit.

python benchmarks/cells_time.py [--repeats 3] [--seeds 2]        (in an environment that has scvi-tools)
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cells import BATCH, METHODS, STEPS, _annotated, _cells, _mean, _planted_cells, _scvi
from timing import RESULTS, machine

import lowerbound as lb
from lowerbound.data.download import needed

warnings.filterwarnings("ignore")
FEW, MANY = {"pbmc68k": 5, "generated": 1}, {"pbmc68k": 45, "generated": 4}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "cells_time.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"times": {}, "scores": {}}
    for name, x in (("pbmc68k", _pbmc()), ("generated", _planted_cells(0, 3000, 1000)[0].X)):
        if name not in saved["times"]:
            saved["times"][name] = timed(x, FEW[name], MANY[name], arguments.repeats)
            print(name, saved["times"][name], flush=True)
            _write(arguments.out, saved)
    for name, cells in (("pbmc68k", lambda seed: _pbmc()), ("generated", lambda seed: _planted_cells(seed)[0].X)):
        for seed in range(arguments.seeds):
            key = f"{name}, {seed}"
            if key not in saved["scores"]:
                saved["scores"][key] = scored(cells(seed), seed)
                print(key, saved["scores"][key], flush=True)
                _write(arguments.out, saved)


def timed(x: np.ndarray, few: int, many: int, repeats: int) -> dict[str, Any]:
    """The medians for both, and how many times as long scvi-tools takes."""
    contenders = {"cells": _fit_ours, "scvi-tools": _fit_scvi}
    for fit in contenders.values():
        fit(x[:256], 1, 0)  # imports and look-ups
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name, fit in contenders.items():
            seconds[name].append((_cpu(fit, x, few, repeat), _cpu(fit, x, many, repeat)))
    found: dict[str, Any] = {}
    for name, pairs in seconds.items():
        short, long = np.array(pairs).T
        epoch = float(np.median((long - short) / (many - few)))
        found[name] = {"epoch": round(epoch, 4), "start": round(float(np.median(short)) - few * epoch, 3)}
    found["ratio of epochs"] = round(found["scvi-tools"]["epoch"] / found["cells"]["epoch"], 2)
    return {**found, "repeats": seconds}


def scored(x: np.ndarray, seed: int) -> dict[str, Any]:
    """Scores of held-out cells and CPU seconds, at equal epochs and at equal time; and ours less that of scvi-tools."""
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = x[order[len(x) // 5 :]], x[order[: len(x) // 5]]
    found: dict[str, Any] = {}
    scores: dict[str, np.ndarray] = {}
    for name in ("scvi-tools", "cells", "cells, equal time"):
        steps = STEPS
        if name == "cells, equal time":
            steps = round(STEPS * found["scvi-tools"]["cpu_seconds"] / found["cells"]["cpu_seconds"])
        started = time.process_time()
        made = METHODS[name](train, seed) if name == "scvi-tools" else _cells(train, seed, steps=steps)
        seconds = time.process_time() - started
        assert made is not None
        assert made[0] is not None
        scores[name] = made[0](test)
        found[name] = {"steps": steps, "cpu_seconds": round(seconds, 1), **_mean("log_p", scores[name])}
        found[name] |= _mean("minus_scvi", scores[name] - scores["scvi-tools"])
    return found


def _fit_ours(x: np.ndarray, epochs: int, seed: int) -> None:
    lb.fit(_annotated(x), "cells", hold_out=False, epochs=epochs, batch_size=BATCH, seed=seed, device="cpu")


def _fit_scvi(x: np.ndarray, epochs: int, seed: int) -> None:
    made = _scvi(x, seed, gene_likelihood="nb", epochs=epochs)
    assert made is not None, "scvi-tools cannot be imported"


def _cpu(fit: Callable[[np.ndarray, int, int], None], x: np.ndarray, epochs: int, seed: int) -> float:
    started = time.process_time()
    fit(x, epochs, seed)
    return time.process_time() - started


def _pbmc() -> np.ndarray:
    with np.load(needed("pbmc68k_reduced_counts.npz")) as file:
        return file["counts"].astype(np.float32)


def _write(path: Path, saved: dict[str, Any]) -> None:
    path.write_text(json.dumps({"protocol": __doc__, "machine": machine(), **saved}, indent=1) + "\n")


if __name__ == "__main__":
    main()
