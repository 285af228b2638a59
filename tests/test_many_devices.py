"""One, two and four processes give the same losses; a run goes on with another number of processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TRAIN = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.data import read_file, source_for
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train
from lowerbound.losses import LossOutput

class Reconstruction(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 6)).double()

    def forward(self, x):
        loss = (self.net(x.double()) - x.double()).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})

if __name__ == "__main__":
    folder, shards, steps, leave_at, devices = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
    torch.manual_seed(0)
    engine = Engine(device="cpu", devices=devices)
    source = source_for(read_file(shards, kind="array", stream_above=0))
    bounds = []
    for record in train(Reconstruction(), source, num_steps=steps, batch_size=16, lr=0.01, clip_norm=1.0, log_every=2,
                        checkpoint=Checkpoint(path=folder / "state", every=0.0), engine=engine, compile=False):
        bounds.append(record.terms["bound"])
        if record.step == leave_at:
            break
    (folder / f"{engine.rank}.json").write_text(json.dumps([engine.world_size, bounds]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    (folder / "train.py").write_text(TRAIN)
    (folder / "shards").mkdir()
    for i in range(3):
        x = np.random.default_rng(i).normal(size=(40 + i, 6)).astype(np.float32)
        np.savez_compressed(folder / "shards" / f"{i}.npz", x=x)
    return folder


def _command(place: Path, folder: Path, steps: int, leave_at: int, launcher: list[str], devices: int = 1) -> list[str]:
    folder.mkdir(exist_ok=True)
    words = [str(place / "train.py"), str(folder), str(place / "shards"), str(steps), str(leave_at), str(devices)]
    return [sys.executable, *launcher, *words]


def _torchrun(processes: int) -> list[str]:
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def _found(folder: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


@pytest.mark.slow
def test_one_two_and_four_processes_give_the_same_losses(place: Path) -> None:
    _run(_command(place, place / "w1", 12, 0, []))
    _run(_command(place, place / "w2", 12, 0, [], devices=2))
    _run(_command(place, place / "w4", 12, 0, _torchrun(4)))
    ((_, alone),) = _found(place / "w1")
    for folder, count in (("w2", 2), ("w4", 4)):
        found = _found(place / folder)
        assert [size for size, _ in found] == [count] * count
        for _, bounds in found:
            assert bounds == pytest.approx(alone, abs=1e-6)
    assert max(alone) - min(alone) > 1e-3


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(place: Path) -> None:
    _run(_command(place, place / "whole", 12, 0, []))
    _run(_command(place, place / "moved", 12, 4, [], devices=2))
    _run(_command(place, place / "moved", 12, 8, []))
    _run(_command(place, place / "moved", 12, 0, _torchrun(4)))
    whole = _found(place / "whole")[0][1]
    assert _found(place / "moved")[0][1] == pytest.approx(whole[4:], abs=1e-6)


@pytest.mark.slow
def test_two_machines_meet_at_torchruns_rendezvous(place: Path) -> None:
    """Two agents of one process each, as on two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
    launcher += [f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=two"]
    command = _command(place, place / "rendezvous", 12, 0, launcher)
    agents = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    words = [agent.communicate(timeout=300)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], words
    found = _found(place / "rendezvous")
    assert [size for size, _ in found] == [2, 2]
    _run(_command(place, place / "alone", 12, 0, []))
    assert found[0][1] == pytest.approx(_found(place / "alone")[0][1], abs=1e-6)


def _children(parent: int) -> list[int]:
    found = []
    for name in Path("/proc").iterdir():
        try:
            if name.name.isdecimal() and int((name / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(name.name))
        except (OSError, IndexError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--recipe", "vae-gan"],
        ["--recipe", "avb"],
        ["--recipe", "aae"],
        ["--recipe", "semi-supervised"],
        ["--loss", "aggressive", "--objective", "elbo", "--gradient", "pathwise"],
        ["--loss", "wake-sleep"],
        ["--inference", "local:num_steps=2"],
    ],
    ids=lambda words: words[1],
)
def test_losses_train_on_two_processes_and_go_on_with_one(words: list[str], tmp_path: Path) -> None:
    fit = [sys.executable, "-m", "lowerbound", "fit"]
    small = ["--steps", "8", "--batch-size", "32", "--no-compile", "--no-evaluate", "--devices", "2"]
    _run([*fit, "digits", *words, *small, "--out", str(tmp_path / "two")])
    _run([*fit, "--resume", str(tmp_path / "two"), "--devices", "1", "--steps", "12", "--out", str(tmp_path / "one")])
    lines = (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("strategy, hidden", [("ddp", "8"), ("fsdp", "1024")])
def test_a_killed_process_ends_in_a_sentence_and_the_run_goes_on(strategy: str, hidden: str, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    fit = [sys.executable, "-m", "lowerbound", "fit"]
    words = [
        "digits",
        "--steps",
        "100000",
        "--batch-size",
        "32",
        "--hidden",
        hidden,
        "--latent-dim",
        "2",
        "--no-compile",
    ]
    words += ["--strategy", strategy]
    with log.open("w") as stream:
        first = subprocess.Popen(
            [*fit, *words, "--no-evaluate", "--devices", "2", "--out", str(run)], stdout=stream, stderr=stream
        )
        until = time.monotonic() + 300
        while not (run / "state.safetensors").exists() and first.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        (second,) = _children(first.pid)
        os.kill(second, signal.SIGKILL)
        code = first.wait(timeout=120)
    said = log.read_text()
    assert "Traceback" not in said, said[-3000:]
    assert "Another process of this run ended" in said, said[-1000:]
    assert code == 1
    rest = [*fit, "--resume", str(run), "--devices", "1", "--steps", "100200", "--out", str(tmp_path / "rest")]
    with log.open("w") as stream:
        going = subprocess.Popen(rest, stdout=stream, stderr=stream)
        while "held-out" not in log.read_text() and going.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        going.send_signal(signal.SIGINT)
        code = going.wait(timeout=120)
    assert code == 130, log.read_text()[-2000:]
    assert "Traceback" not in log.read_text()
