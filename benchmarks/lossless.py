"""Bits that lossless files reach, beside −ELBO of the same rows and what gzip, bz2, lzma and PNG make of them.

Short trainings: the models are not good ones, and what is compared is the length of a file with the bound of its model.
The rows are test rows, which no training saw, where the data have such. "At its latents" is −ELBO at the latents of the
file. Seconds are CPU seconds of one thread: of `compress`, which encodes, decodes once to compare and takes 16 draws
for the bound, and of `decompress`. Each case is saved as soon as it is there and is not made again; with --runs its
model is kept there and is not trained again.

BB-ANS (Townsend, Bird & Barber 2019, arXiv:1901.04866, table 2) reaches 0.19 bits a pixel of binarised MNIST at an
−ELBO of 0.19, and 1.41 of raw MNIST at 1.39.

python benchmarks/lossless.py [--rows 1000] [--steps 2000] [--cases NAME …] [--runs FOLDER]
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import RESULTS, machine

import lowerbound as lb
from lowerbound.data import load
from lowerbound.data.download import find

CASES: dict[str, dict[str, Any]] = {
    "binarized MNIST": {"data": "mnist", "binary": True},
    "MNIST": {"data": "mnist", "likelihood": "discretized-logistic"},
    "Fashion-MNIST": {"data": "fashion-mnist", "likelihood": "discretized-logistic"},
    "binarized Omniglot": {"file": "omniglot_28.npz", "array": "x_train", "held_out": "x_test", "binary": True},
    "Frey faces": {"data": "frey-faces", "likelihood": "discretized-logistic"},
    "diamonds": {"file": "diamonds.csv.gz"},
    "counts of cells": {"file": "pbmc68k_reduced_counts.npz", "array": "counts"},
    "Penn Treebank": {
        "file": "ptb.train.txt.gz",
        "test": "ptb.test.txt.gz",
        "recipe": "language-model:embedding_dim=64,width=128",
        "kind": "text:tokens=bpe,vocabulary=512",
        "batch_size": 32,
    },
}

SOLVED = ("diamonds", "counts of cells")
"""Those that are fitted without steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "lossless.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    for name in arguments.cases:
        if name not in done:
            done[name] = _case(name, arguments.rows, arguments.steps, arguments.runs)
            arguments.out.write_text(json.dumps({"machine": machine(), "results": done}, indent=1))
        found = done[name]
        print(
            f"{name:20s} {found['bits']:8.4f} bits a number, {100 * (found['bits'] / found['elbo'] - 1):+.2f} % of "
            f"-ELBO ± {100 * found['standard_error'] / found['elbo']:.2f}, "
            f"{100 * (found['bits'] / found['at_its_latents'] - 1):+.3f} % at its latents; "
            + ", ".join(f"{other} {size:.4f}" for other, size in found["others"].items())
            + f"; {found['compress_rows_per_second']:.0f} and {found['decompress_rows_per_second']:.0f} rows a second"
        )


def _case(name: str, num_rows: int, steps: int, runs: Path | None) -> dict[str, Any]:
    case = CASES[name]
    train, test = data_of(case, num_rows)
    trained: dict[str, Any] = {} if name in SOLVED else {"steps": steps}
    fitted = fitted_to(case, train, trained, None if runs is None else runs / name.replace(" ", "-"))
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder) / "rows.lb", time.process_time()
        found = fitted.compress(test, path)
        between = time.process_time()
        fitted.decompress(path)
        end = time.process_time()
    n = found.num_numbers
    return {
        "rows": found.num_rows,
        "numbers": n,
        "steps": trained.get("steps"),
        "bits": found.bits / n,
        "elbo": found.elbo_bits / n,
        "at_its_latents": found.drawn_bits / n,
        "standard_error": found.standard_error / n,
        "file": 8 * found.num_bytes / n,
        "others": {name: 8 * size / n for name, size in found.others.items()},
        "compress_rows_per_second": found.num_rows / (between - start),
        "decompress_rows_per_second": found.num_rows / (end - between),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def fitted_to(case: dict[str, Any], train: Any, trained: dict[str, Any], run: Path | None) -> lb.Fitted:
    if run is not None and run.exists():
        return lb.Fitted.open(run)
    options = {key: case[key] for key in ("likelihood", "recipe", "kind", "batch_size") if key in case}
    fitted = lb.fit(train, device="cpu", **options, **trained)
    if run is not None:
        fitted.save(run)
    return fitted


def data_of(case: dict[str, Any], num_rows: int) -> tuple[Any, Any]:
    """Rows to train on and rows to code."""
    if "data" in case:
        dataset = load(case["data"])
        train, test = np.asarray(dataset.x_train), dataset.x_test[:num_rows]
        train = train if dataset.train_rows is None else train[dataset.train_rows]
        return _binary(case, train, test)
    path, held_out = _place(case["file"]), _place(case["test"]) if "test" in case else None
    if held_out is not None:
        return _lines(path)[: 10 * num_rows], _lines(held_out)[:num_rows]
    if path.suffix == ".npz":
        with np.load(path) as archive:
            x = archive[case["array"]]
            if "held_out" in case:
                return _binary(case, x, archive[case["held_out"]][:num_rows])
        return x[: -len(x) // 3], x[-len(x) // 3 :]
    import pandas

    table = pandas.read_csv(path).sample(frac=1.0, random_state=0).reset_index(drop=True)
    return table[num_rows : 5 * num_rows], table[:num_rows]


def _binary(case: dict[str, Any], *parts: np.ndarray) -> Any:
    if not case.get("binary"):
        return parts
    return tuple((255 * (part > part.max() / 2)).astype(np.uint8) for part in parts)


def _place(file: str) -> Path:
    path = find(file)
    if path is None:
        raise SystemExit(f"{file} is not there; set LOWERBOUND_DATA to the folder that has it.")
    return path


def _lines(path: Path) -> list[str]:
    return [line for line in gzip.decompress(path.read_bytes()).decode().splitlines() if line.strip()]


if __name__ == "__main__":
    main()
