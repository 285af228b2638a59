"""Milliseconds of a step in three forms: eager, compiled and launched kernel by kernel, and launched as one CUDA graph.

The models are those of `compiled.py`, on digits, and a perceptron 784-512-20 on MNIST. The forms take blocks of 100
steps in turn; a block ends when the device has computed it. "same" says whether the first steps of the
last two forms, from the same weights and random numbers, have the same bits. Each result is saved as soon as it is
there, and what is saved is not computed again. Without a GPU there is no third form.

python benchmarks/whole_step.py [--device cuda] [--only NAME …] [--rounds 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, get_args

import torch
from compiled import CASES, made
from contenders import binary_images, lowerbound_model
from timing import machine

import lowerbound as lb
from lowerbound.optimizers import Adam
from lowerbound.training import steps
from lowerbound.training.compiling import keep_graphs
from lowerbound.training.engine import Device, Engine
from lowerbound.training.recorded import recorder_on

BLOCK, PERCEPTRON = 100, "784-512-20"
Form = steps.TrainingStep
Rows = tuple[torch.Tensor, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=get_args(Device), default="cuda")
    parser.add_argument("--only", nargs="+", default=[PERCEPTRON, *CASES], choices=[PERCEPTRON, *CASES])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", type=int, default=BLOCK)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    keep_graphs()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    on = torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device
    saved = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    for name in arguments.only:
        if name in saved:
            continue
        try:
            saved[name] = measured(name, arguments.device, arguments.rounds, arguments.block)
        except ValueError as error:  # what cannot be compiled or recorded says why
            saved[name] = {"refused": str(error)[:300]}
        print(name, saved[name], flush=True)
        content = {"protocol": __doc__, "on": on, "machine": machine(), "results": saved}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def measured(name: str, device: Device, rounds: int, block: int) -> dict[str, Any]:
    """Median milliseconds of each form."""
    forms, rows = forms_of(name, device)
    found: dict[str, Any] = {}
    for form, step in forms.items():
        started = time.perf_counter()
        if isinstance(step, steps.CompiledStep):
            step.prepare(rows)
        found[f"{form}, seconds to start"] = round(time.perf_counter() - started, 1)
    if len(forms) == 3:
        by_kernel, whole = (first_rows(step, rows) for form, step in forms.items() if form != "eager")
        found["same"] = bool(torch.equal(by_kernel, whole))
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(rounds + 1):
        for form, step in forms.items():
            step.begin()
            started = time.perf_counter()
            for _ in range(block):
                last = step(rows, 1e-5)
            assert last.cpu().isfinite().all()
            seconds[form].append((time.perf_counter() - started) / block)
    return {**found, **{f"{form}, ms": round(1e3 * statistics.median(s[1:]), 4) for form, s in seconds.items()}}


def forms_of(name: str, device: Device) -> tuple[dict[str, Form], Rows]:
    """The forms of a step, each with weights of its own, and a batch."""
    eager, rows = one(name, device, compile=False)
    forms = {"eager": eager}
    steps.recorder_on = lambda device: None
    forms["compiled, by kernel"] = one(name, device, compile=True)[0]
    steps.recorder_on = recorder_on
    if device == "cuda":
        forms["compiled, one graph"] = one(name, device, compile=True)[0]
    return forms, rows


def one(name: str, device: Device, *, compile: bool) -> tuple[Form, Rows]:
    """One form of a step, and a batch."""
    if name != PERCEPTRON:
        compiled, rows, eager = made(name, device)
        return (compiled if compile else eager), rows
    torch.manual_seed(0)
    engine, x = Engine(device=device), binary_images(128)
    loss = lb.VariationalLoss(lowerbound_model(784, 512, 20), lb.objectives.ELBO("kl"), lb.gradients.Pathwise())
    loss.to(engine.torch_device)
    source = lb.data.InMemory(x.to(engine.torch_device))
    rows = source.gather(torch.arange(128))
    if compile:
        return steps.CompiledStep(loss, source.transform, None), rows
    return steps.EagerStep(loss, source.transform, engine, Adam(), None), rows


def first_rows(step: Form, rows: Rows) -> torch.Tensor:
    """Terms and norms of eight steps."""
    torch.manual_seed(0)
    step.begin()
    return torch.stack([step(rows, 1e-5).clone() for _ in range(8)])


if __name__ == "__main__":
    main()
