"""How the time and the memory of a step grow with batch, width, samples, latent dimension, depth and rows of the data.

A perceptron (256-128-16 and back, batch 64, one sample) is taken, and one number at a time is raised. Time is the
median computing time of an uncompiled step, the batch included. Memory is exact: the bytes that autograd keeps for the
backward pass (each tensor once, parameters not among them) and 16 bytes for each parameter: weight, gradient and the
two moments of Adam. The exponent is the slope of log time or log memory along the log of the number, between the two
largest values.

python benchmarks/growth.py [--steps 15] [--picture docs/growth.png]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import RESULTS, machine
from torch import Tensor

import lowerbound as lb
from lowerbound.data import InMemory
from lowerbound.data.numbered import Numbered
from lowerbound.optimizers import Adam
from lowerbound.plots.style import class_style, new_figure, style_axes
from lowerbound.training.engine import Engine
from lowerbound.training.steps import EagerStep
from lowerbound.training.tuning import cpu_tuning

PIXELS = 256
BASE = {"batch": 64, "width": 128, "samples": 1, "latent dimension": 16, "depth": 1, "rows": 4096}
AXES = {
    "batch": [64, 512, 4096, 16384],
    "width": [128, 512, 2048, 4096],
    "samples": [1, 8, 64, 256],
    "latent dimension": [16, 256, 1024, 4096],
    "depth": [1, 4, 16, 32],
    "rows": [4096, 65536, 262144, 1048576],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for axis, values in AXES.items():
        found = [measured({**BASE, axis: value}, arguments.steps) for value in values]
        seconds, memory = zip(*found, strict=True)
        results[axis] = {
            "values": values,
            "milliseconds": [round(1e3 * one, 3) for one in seconds],
            "mebibytes": [round(one / 2**20, 3) for one in memory],
            "exponent of time": exponent(values, seconds),
            "exponent of memory": exponent(values, memory),
        }
        print(axis, results[axis], flush=True)
        content = {"protocol": __doc__, "machine": machine(), "base": BASE, "results": results}
        (RESULTS / "growth.json").write_text(json.dumps(content, indent=1) + "\n")
    if arguments.picture is not None:
        draw(results, arguments.picture)


def measured(size: dict[str, int], steps: int) -> tuple[float, int]:
    """Seconds and bytes of a step."""
    torch.manual_seed(0)
    rows = (torch.rand(size["rows"], PIXELS) < 0.2).to(torch.uint8)
    hidden = [size["width"]] * size["depth"]
    model = lb.models.vae((PIXELS,), latent_dim=size["latent dimension"], hidden=hidden)
    loss = lb.VariationalLoss(model, lb.objectives.IWAE(), lb.gradients.Pathwise(), size["samples"])
    feed = Numbered(InMemory(rows, torch.Tensor.float), size["batch"], 0)
    step = EagerStep(loss, feed.transform, Engine(device="cpu"), Adam(), None)
    loss.check(rows[:2].float())
    kept = _kept(loss, *feed.transform(*feed.batch(0)))
    seconds: list[float] = []
    with cpu_tuning(torch.device("cpu")):
        for i in range(steps + 2):
            begun = time.process_time()
            step(feed.batch(i), 1e-4)
            seconds.append(time.process_time() - begun)
    return statistics.median(seconds[2:]), kept + 16 * sum(p.numel() for p in loss.parameters())


def _kept(loss: torch.nn.Module, *batch: Tensor) -> int:
    """Bytes that the backward pass reads, without the parameters."""
    parameters = {p.untyped_storage().data_ptr() for p in loss.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(*batch)
    return sum(found.values())


def exponent(values: list[int], costs: tuple[float, ...]) -> float:
    return round(float(np.log(costs[-1] / costs[-2]) / np.log(values[-1] / values[-2])), 2)


def draw(results: dict[str, Any], path: Path) -> None:
    """Time and memory against the number, relative to its first value."""
    figure = new_figure(12, 5)
    panels = figure.subplots(1, 2)
    for axes, key, title in zip(
        panels, ("milliseconds", "mebibytes"), ("Time of a step", "Memory of a step"), strict=True
    ):
        kind = "exponent of time" if key == "milliseconds" else "exponent of memory"
        for number, (axis, found) in enumerate(results.items()):
            style = class_style(number)
            x = np.array(found["values"]) / found["values"][0]
            label = f"{axis}: {found[kind]:.2f}"
            axes.plot(x, found[key], color=style.colour, marker=style.marker, linestyle=style.line, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        style_axes(axes, title=title, x="times the first value", y="ms" if key == "milliseconds" else "MiB")
        axes.legend(title="exponent at the large end", frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
