"""Two processes on the CPU, over gloo."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lowerbound.cli.processes import is_first
from lowerbound.runs import Run

WORDS = ["fit", "digits", "--steps", "40", "--hidden", "8", "--latent-dim", "2", "--device", "cpu", "--no-evaluate"]
LAUNCHERS = {
    "devices": ([sys.executable, "-m", "lowerbound"], ["--devices", "2"]),
    "torchrun": ([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "lowerbound"], []),
}


def _run(launcher: str, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    before, after = LAUNCHERS[launcher]
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    command = [*before, *WORDS, *after, "--out", str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_do_the_work_of_one(launcher, tmp_path, cli):
    done = _run(launcher, tmp_path / "two", "--binarization", "threshold")  # then z alone is drawn differently
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("Data: digits") == 1
    assert len(re.findall(r"^step 40/40", done.stdout, flags=re.M)) == 1
    assert cli(*WORDS, "--out", tmp_path / "one", "--binarization", "threshold").code == 0
    one, two = (Run.open(tmp_path / name).metrics() for name in ("one", "two"))
    assert [r["step"] for r in two] == [r["step"] for r in one]  # written once
    assert [r["epoch"] for r in two] == [r["epoch"] for r in one]  # each global batch is shared, not repeated
    assert two[-1]["held_out"]["bound"] == pytest.approx(one[-1]["held_out"]["bound"], abs=0.1)
    assert two[0]["terms"]["bound"] == pytest.approx(one[0]["terms"]["bound"], abs=0.1)
    assert Run.open(tmp_path / "two").finished


@pytest.mark.slow
def test_a_mistake_is_told_once_by_two_processes(tmp_path):
    done = _run("devices", tmp_path / "run", "--batch-size", "3")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "3" in done.stderr


_LITTLE_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
from lowerbound.cli import main
if __name__ == "__main__":
    raise SystemExit(main())
"""


@pytest.mark.slow
def test_a_full_disk_is_told_once_though_only_the_first_process_writes(tmp_path):
    (tmp_path / "little_disk.py").write_text(_LITTLE_DISK)
    words = [*WORDS, "--devices", "2", "--steps", "100000", "--no-compile", "--out", str(tmp_path / "run")]
    words += ["--hidden", "64"]  # so that the weights reach the limit long before the records
    command = [sys.executable, "-m", "little_disk", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "state.safetensors (File too large)" in done.stderr


@pytest.mark.slow
def test_an_interruption_of_one_process_stops_both_and_saves(tmp_path, cli):
    words = ["--devices", "2", "--steps", "100000", "--no-compile", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "lowerbound", *WORDS, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step"):
        pass
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert error.count("\n") == 1
    step = int(re.findall(r"Stopped at step ([\d,]+)", error)[0].replace(",", ""))
    assert Run.open(tmp_path / "run").checkpoint.load()[1]["step"] == step


@pytest.mark.parametrize(
    "environment, first",
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, True),  # left over from another program: nobody started several processes
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "3"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "1"}, True),
        ({"RANK": "1", "WORLD_SIZE": "x"}, True),
        ({"RANK": "0"}, True),
        ({"RANK": "abc"}, True),
    ],
)
def test_the_first_of_all_processes_speaks(environment, first, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first() is first
