"""Give a case to the command, in this process or in one of its own, and see what comes of it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from some_cells import planted_cells, write_h5ad
from some_molecules import SMILES

from lowerbound.cli import main

from .case import Answer, Case
from .commands import Material

__all__ = ["make_material", "run"]

MOST_SECONDS = 30
_WALL = 10  # times as much by the clock on the wall, where others share the machine


class Hang(BaseException):
    """The time is up; not an `Exception`, which somebody could explain."""


def run(case: Case) -> Answer:
    """The answer to a case."""
    started = time.monotonic()
    code, err, trace = _apart(case) if case.apart else _here(case)
    return Answer(code=code, err=err, traceback=trace, seconds=time.monotonic() - started)


def make_material(folder: Path) -> Material:
    """Good data and finished runs, tiny, made once."""
    rng, table = np.random.default_rng(0), folder / "table.csv"
    rows = [
        f"{a:.4f},{b:.3f},{c},{'xyz'[i % 3]}"
        for i, (a, b, c) in enumerate(zip(rng.normal(size=60), rng.random(60), rng.poisson(3, 60), strict=True))
    ]
    table.write_text("\n".join(["a,b,c,label", *rows]))
    small = [
        "--steps",
        "4",
        "--hidden",
        "4",
        "--latent-dim",
        "2",
        "--num-samples",
        "2",
        "--device",
        "cpu",
        "--no-evaluate",
    ]
    text, last = folder / "text.txt", ["--steps", "4", "--device", "cpu", "--no-evaluate"]
    text.write_text("\n".join(" ".join("abcd"[int(k)] for k in rng.integers(0, 4, 1 + i % 5)) for i in range(60)))
    codes = "vq:num_codes=4,features=2,network=mlp,hidden=[4],prior_channels=4,prior_layers=1,prior_epochs=1"
    wanted = {
        "vae": ["digits", "--recipe", "vae", *small],
        "labels": [str(table), "--recipe", "semi-supervised", "--label", "label", *small],
        "text": [str(text), "--recipe", "sentence-vae:embedding_dim=4,width=4,latent_dim=2", *last],
        "codes": ["digits", "--recipe", codes, *last],
        "exact": [str(table), "--recipe", "factor-analysis", "--device", "cpu", "--no-evaluate"],
    }
    cells, molecules = folder / "cells.h5ad", folder / "molecules.smi"
    write_h5ad(cells, planted_cells(40)[0])
    molecules.write_text("\n".join(SMILES) + "\n")
    covered = ["--covariates", "batch,age", "--label", "type"]
    wanted["cells"] = [str(cells), "--recipe", "cells", *covered, *small[:6], *small[8:]]
    wanted["molecules"] = [str(molecules), "--recipe", "molecule-vae:embedding_dim=2,width=2,latent_dim=2", *last]
    runs = []
    for name, words in wanted.items():
        runs.append(folder / name)
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["fit", *words, "--out", str(runs[-1])]) == 0
    data, coded = folder / "counts.npy", folder / "counts.lb"
    np.save(data, rng.poisson(3, (40, 3)))
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["fit", str(data), *small, "--out", str(folder / "counts")]) == 0
        assert main(["compress", str(folder / "counts"), str(data), "--out", str(coded)]) == 0
    named = {path.name: path for path in runs}
    return Material(
        folder=folder,
        table=table,
        runs=tuple(runs[:5]),
        text=named["text"],
        coded=(folder / "counts", data, coded),
        cells=named["cells"],
        molecules=named["molecules"],
    )


def _here(case: Case) -> tuple[int | None, str, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code, trace = None, ""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with mock.patch.dict(os.environ, case.environment), warnings.catch_warnings(), _limited():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(case.words)
            except Hang:
                pass
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 1
            except BaseException:
                trace = traceback.format_exc()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    err.seek(0)
    return code, err.read(), trace


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise `Hang` here after so much time of the processor, or ten times as much by the clock."""

    def stop(number: int, frame: object) -> None:
        raise Hang

    numbers = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}
    before = {number: signal.signal(number, stop) for number in numbers.values()}
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS * _WALL)
    try:
        yield
    finally:
        for timer in numbers:
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _apart(case: Case) -> tuple[int | None, str, str]:
    words = [sys.executable, "-W", "ignore", "-m", "lowerbound", *(word.replace("\0", "") for word in case.words)]
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context(open("/dev/full" if case.stdout == "full" else os.devnull, "w"))
        process = subprocess.Popen(
            words,
            stdout=stdout,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", **case.environment},
            preexec_fn=(lambda: os.close(1)) if case.stdout == "closed" else None,
        )
        try:
            _, err = process.communicate(timeout=MOST_SECONDS * _WALL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, "", ""
    return process.returncode, err.decode(errors="replace"), ""
