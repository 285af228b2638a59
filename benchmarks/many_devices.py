"""What a second process gains on one machine, and what each of them holds.

*Weak scaling*: rows a second of one process with batch B against two processes with batch B each (so twice the rows a
step), 784-512-20 and back, one thread each; processes are started anew in every round, and rounds take turns.
*Memory*: of a perceptron of 22 million parameters, the bytes of all tensors that a process holds between two steps:
weights, moments, best weights and the last good record.

python benchmarks/many_devices.py [--only speed memory] [--batch-size 128] [--rounds 3] [--steps 150]
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from contenders import binary_images
from timing import RESULTS, machine

from lowerbound.data import InMemory
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.training.engine import Engine, Strategy
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train

_FORMS: tuple[tuple[int, Strategy], ...] = ((1, "ddp"), (2, "ddp"), (2, "fsdp"))
_SPEED, _LARGE = [512], [2560, 2560, 1024]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--out", type=Path, default=RESULTS / "many_devices.json")
    parser.add_argument("--only", nargs="+", choices=["speed", "memory"], default=["speed", "memory"])
    parser.add_argument("--worker", nargs=3, metavar=("WHAT", "DEVICES", "STRATEGY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.worker is not None:
        what, devices, strategy = arguments.worker
        work(what, int(devices), strategy, arguments.steps, arguments.batch_size)
        return
    saved = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    if "memory" in arguments.only:
        saved["held_by_each_process"] = {_name(form): _asked("memory", form, ["--steps", "3"]) for form in _FORMS}
    if "speed" in arguments.only:
        size = ["--steps", str(arguments.steps), "--batch-size", str(arguments.batch_size)]
        speeds = {"steps": arguments.steps, **_speeds(arguments.rounds, size)}
        saved.setdefault("speed", {})[f"batch {arguments.batch_size} a process"] = speeds
    content = {"protocol": __doc__, "machine": machine(), "results": saved}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(saved, indent=1))


def _speeds(rounds: int, words: list[str]) -> dict[str, dict[str, object]]:
    """Rows a second in each form, by turns."""
    speed: dict[str, list[float]] = {_name(form): [] for form in _FORMS}
    for _ in range(rounds):
        for form in _FORMS:
            speed[_name(form)].append(_asked("speed", form, words)["rows_per_second"])
            print(_name(form), speed[_name(form)][-1], flush=True)
    medians = {name: statistics.median(found) for name, found in speed.items()}
    one = medians[_name(_FORMS[0])]
    return {
        "rows_per_second": {name: round(median) for name, median in medians.items()},
        "times_one_process": {name: round(median / one, 2) for name, median in medians.items()},
        "rounds": {name: [round(one) for one in found] for name, found in speed.items()},
    }


def _name(form: tuple[int, Strategy]) -> str:
    return "1 process" if form[0] == 1 else f"{form[0]} processes, {form[1]}"


def _asked(what: str, form: tuple[int, Strategy], words: list[str]) -> dict[str, float]:
    command = [sys.executable, __file__, "--worker", what, str(form[0]), form[1], *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(what: str, devices: int, strategy: Strategy, steps: int, batch_size: int) -> None:
    """Train in this process, and in those that it starts; the first prints what was found."""
    engine = Engine(device="cpu", devices=devices, strategy=strategy)
    x = binary_images(8 * 1024)
    torch.manual_seed(0)
    model = vae((784,), latent_dim=20, hidden=_SPEED if what == "speed" else _LARGE)
    loss = VariationalLoss(model, ELBO(), Pathwise())
    held_out = None if what == "speed" else HeldOut(source=x[:64], every=1)
    size = batch_size * engine.world_size
    found = {}
    log_every = max(1, steps // 3)
    for record in train(
        loss, InMemory(x), num_steps=3 * log_every, batch_size=size, log_every=log_every, engine=engine, compile=False,
        held_out=held_out,
    ):  # fmt: skip
        if record.step == log_every:
            begun = time.perf_counter()
        elif record.step == 3 * log_every:
            if what == "speed":
                found["rows_per_second"] = 2 * log_every * size / (time.perf_counter() - begun)
            else:
                found["bytes_of_tensors"] = _held()
                found["largest_resident_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if engine.rank == 0:
        print(json.dumps({name: round(value) for name, value in found.items()}))


def _held() -> int:
    """Bytes of all tensors that Python can reach, each storage once."""
    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor):
            storage = getattr(thing, "to_local", lambda thing=thing: thing)().untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


if __name__ == "__main__":
    main()
