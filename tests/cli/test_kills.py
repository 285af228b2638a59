"""A run that is killed at any moment, saves included, goes on to the same bits.

Children are forked from one process that has imported everything, save at every record, and are killed after a random
time, again and again. A life that comes to its end is compared with a run that nobody killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lowerbound.runs import Run

from .conftest import TINY

_DRIVER = """
import dataclasses, os, random, shutil, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from lowerbound.fitting.preparing import prepare
from lowerbound.runs import Run

like, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
dataset = Run.open(like).dataset  # read once

def life(path):
    run = Run.open(path)
    run.__dict__["dataset"] = dataset
    run.checkpoint = dataclasses.replace(run.checkpoint, every=0)
    engine = run.plan.engine()
    for record in run.fit(prepare(run.dataset, run.plan, engine), engine):
        pass

def new(number):
    path = folder / str(number)
    path.mkdir()
    shutil.copy(like / "run.json", path)
    return path

life(new(0))  # the first imports what later ones have
started = time.monotonic()
life(new(1))
whole, rng, killed, number = time.monotonic() - started, random.Random(seed), 0, 2
path = new(number)
while killed < kills or path is not None:
    child = os.fork()
    if child == 0:
        life(path)
        os._exit(0)
    if killed < kills:
        time.sleep(rng.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    elif status == 0:
        number += 1
        path = new(number) if killed < kills else None
    else:
        sys.exit(f"life {number} failed")
print(killed, number - 1)
"""


def _driven(like: Path, folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """How many lives were killed, and how many runs came to their end."""
    words = [sys.executable, "-c", _DRIVER, str(like), str(folder), str(kills), str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    killed, ended = done.stdout.split()
    return int(killed), int(ended)


def _same(one: Path, other: Path) -> None:
    """The same weights, state and records, to the bit; only times and what is left of killed writers may differ."""
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    states = [Run.open(path).checkpoint.load()[1] | {"seconds": 0} for path in (one, other)]
    assert states[0] == states[1]
    tensors = [load_file(path / "state.safetensors") for path in (one, other)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(t.equal(tensors[1][name]) for name, t in tensors[0].items())
    records = [[r | {"seconds": 0} for r in Run.open(path).metrics()] for path in (one, other)]
    assert records[0] == records[1]


@pytest.mark.parametrize("kills", [1, pytest.param(199, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing(digits_run, tmp_path, kills):
    killed, ended = _driven(digits_run, tmp_path, kills, seed=kills)
    assert killed == kills
    assert ended >= 2
    for number in range(ended + 1):
        _same(digits_run, tmp_path / str(number))


@pytest.mark.slow
def test_kills_of_two_processes_lose_nothing(tmp_path):
    words = [sys.executable, "-m", "lowerbound", "fit"]
    begin = ["digits", "--steps", "1000", "--devices", "2", "--no-compile", "--no-evaluate", *TINY]
    whole, run = tmp_path / "whole", tmp_path / "run"
    subprocess.run([*words, *begin, "--out", str(whole)], check=True, stdout=subprocess.DEVNULL)
    run.mkdir()
    shutil.copy(whole / "run.json", run)
    rng = random.Random(0)
    for _ in range(6):
        _kill_both([*words, "--resume", str(run), "--no-evaluate"], rng.uniform(0, 2))
    subprocess.run([*words, "--resume", str(run), "--no-evaluate"], check=True, stdout=subprocess.DEVNULL)
    _same(whole, run)


def _kill_both(words: list[str], seconds: float) -> None:
    """Kill both processes so long after the first has told a step; or when they have ended before."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step"):
            break
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
