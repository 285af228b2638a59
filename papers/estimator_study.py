"""What the two studies of gradient estimators share: train every contender the same way, measure all alike, draw.

Each run is one contender with one seed. Its curve holds, every few hundred steps, three numbers that do not depend on
how it was trained:

* the ELBO and the importance-weighted bound L_50 on held-out rows, 50 draws for each (a q trained by IWAE or by
  wake-sleep covers more than one trained by the ELBO, and its ELBO alone would be read against it);
* the time of the processor spent training so far (evaluation is not counted), one thread;
* the variance of the gradient for φ of its own estimator, per training step: the trace of the covariance over
  repetitions on one fixed minibatch, divided by the squared norm of the mean, and the norm itself.

A finished run is a file in the folder given by --parts, so that an interrupted study goes on where it was, and two
processes may share the work (each takes the runs that nobody has begun).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from pinned import pinned
from torch import Tensor

from lowerbound.data import Dataset, load
from lowerbound.data.transform import Binarization
from lowerbound.fitting.preparing import Training, prepare
from lowerbound.fitting.stages import fit
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.plots.style import new_figure, style_axes
from lowerbound.randomness import forked

__all__ = ["Contender", "Study", "arguments", "draw", "main", "table"]

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
_HELD_OUT_ROWS, _HELD_OUT_SAMPLES, _REPEATS = 1000, 50, 16


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to train: the names that `lowerbound fit` takes."""

    name: str
    objective: str = "elbo"
    gradient: str = "pathwise"
    num_samples: int
    evaluations: int
    loss: str = "variational"


@dataclass(frozen=True, kw_only=True)
class Study:
    """Some models and data, each trained by every contender."""

    name: str
    contenders: Sequence[Contender]
    models: dict[str, dict[str, Any]]
    data: dict[str, Binarization]
    batch_size: int
    lr: float


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options of both studies."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=8, help="of each curve")
    parser.add_argument("--train-images", type=int, default=60_000)
    parser.add_argument("--only", nargs="*", help="names of data, models or contenders to keep")
    parser.add_argument("--parts", type=Path, help="where finished runs are kept [default: runs/NAME]")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


def main(study: Study, options: argparse.Namespace) -> None:
    """Train what is left to train; then gather, print and draw."""
    parts = options.parts or Path("runs") / study.name
    parts.mkdir(parents=True, exist_ok=True)
    jobs = [
        (seed, data, model, contender)
        for seed in range(options.seeds)
        for data in study.data
        for model in study.models
        for contender in study.contenders
        if is_wanted(study, options.only or [], data, model, contender.name)
    ]
    for seed, data, model, contender in jobs:
        file = parts / "_".join([data, model, contender.name.replace(" ", "-"), str(seed)])
        if claim(file):
            result = run(study, contender, data, model, seed, options)
            file.with_suffix(".json").write_text(json.dumps(result))
            last = result["curve"][-1]
            print(f"{file.name:60s} {last['elbo']:9.2f} nats {last['seconds']:7.1f} s", flush=True)
    results = [json.loads(file.read_text()) for file in sorted(parts.glob("*.json"))]
    if len(results) < len(jobs):
        print(f"{len(jobs) - len(results)} runs are still going on elsewhere.")
        return
    options.out.mkdir(exist_ok=True)
    content = {"protocol": protocol(study, options), "runs": results}
    (options.out / f"{study.name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(table(results))
    draw(study.name, results, options.out)


def is_wanted(study: Study, only: Sequence[str], *names: str) -> bool:
    """Whether data, model and contender are each among the words of their kind, where there are such words."""
    kinds = [study.data, study.models, [contender.name for contender in study.contenders]]
    chosen = [[word for word in only if word in kind] for kind in kinds]
    return all(not words or name in words for words, name in zip(chosen, names, strict=True))


def claim(file: Path) -> bool:
    """Whether this run is ours: it is not done, and no process that still lives has begun it."""
    begun = file.with_suffix(".begun")
    if file.with_suffix(".json").exists():
        return False
    try:
        with begun.open("x") as mark:
            mark.write(str(os.getpid()))
        return True
    except FileExistsError:
        if alive(int(begun.read_text() or 0)):
            return False
        begun.write_text(str(os.getpid()))
        return True


def alive(process: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return process > 0


def protocol(study: Study, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that decides the numbers."""
    return {
        "models": study.models,
        "data": study.data,
        "batch_size": study.batch_size,
        "lr": study.lr,
        "steps": options.steps,
        "seeds": options.seeds,
        "threads": torch.get_num_threads(),
        "held_out": f"ELBO of {_HELD_OUT_ROWS} rows, {_HELD_OUT_SAMPLES} draws each",
        "variance": f"{_REPEATS} repetitions on one minibatch of {study.batch_size}",
        "contenders": [asdict(contender) for contender in study.contenders],
    }


def run(
    study: Study, contender: Contender, data: str, model: str, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One contender, one seed: its curve."""
    dataset = first_rows(load(data), options.train_images)
    plan = pinned(
        dataset,
        study.models[model],
        objective=contender.objective,
        gradient=contender.gradient,
        num_samples=contender.num_samples,
        loss=contender.loss,
        binarization=study.data[data],
        batch_size=study.batch_size,
        steps=options.steps,
        lr=study.lr,
        lr_schedule="constant",
        seed=seed,
        compile=False,
    )
    training = prepare(dataset, plan, plan.engine())
    x, minibatch = fixed_rows(training, study.batch_size)
    curve: list[dict[str, float]] = [measure(training.loss, x, minibatch, step=0, seconds=0.0)]
    every, seconds, started = options.steps / options.points, 0.0, time.process_time()
    for record in fit(training, plan, plan.engine()):
        if record.step // every > curve[-1]["step"] // every:
            seconds += time.process_time() - started
            curve.append(measure(training.loss, x, minibatch, step=record.step, seconds=seconds))
            curve[-1]["train"], started = record.terms["bound"], time.process_time()
    return {"contender": contender.name, "data": data, "model": model, "seed": seed, "curve": curve}


def first_rows(dataset: Dataset, count: int) -> Dataset:
    """The data set with fewer training rows."""
    return replace(dataset, x_train=dataset.x_train[:count], y_train=None, y_test=None)


def fixed_rows(training: Training, batch_size: int) -> tuple[Tensor, Tensor]:
    """Held-out rows to score and training rows for the variance, binarized once: the same for every contender."""
    with forked(CPU, 0):
        held_out = torch.arange(min(_HELD_OUT_ROWS, len(training.held_out)))
        (x,) = training.held_out.transform(*training.held_out.gather(held_out))
        (minibatch,) = training.source.transform(*training.source.gather(torch.arange(batch_size)))
    return x, minibatch


def measure(loss: Loss, x: Tensor, minibatch: Tensor, *, step: int, seconds: float) -> dict[str, float]:
    """One point of a curve; the caller's random state is left alone."""
    loss.eval()
    with forked(CPU, 1):
        point = {"step": step, "seconds": seconds, **held_out_bounds(loss.model, x), **gradient_noise(loss, minibatch)}
    loss.train()
    return point


@torch.no_grad()
def held_out_bounds(model: LatentVariableModel, x: Tensor) -> dict[str, float]:
    """The mean ELBO and L_50, nats."""
    log_w = torch.cat([model.log_weights(rows, _HELD_OUT_SAMPLES).log_w for rows in x.split(100)], 1)
    weighted = torch.logsumexp(log_w, 0) - math.log(_HELD_OUT_SAMPLES)
    return {"elbo": log_w.mean().item(), "iwae": weighted.mean().item()}


def gradient_noise(loss: Loss, minibatch: Tensor) -> dict[str, float]:
    """The variance of φ's gradient, relative to its squared mean, and the norm of that mean."""
    phi = [p for name, p in loss.model.named_parameters() if name.startswith("posterior") and p.requires_grad]
    repeats = torch.stack([flat(torch.autograd.grad(loss(minibatch).loss, phi)) for _ in range(_REPEATS)])
    trace = repeats.var(0).sum()
    squared_mean = (repeats.mean(0).square().sum() - trace / _REPEATS).clamp(min=1e-12)  # less what noise adds to it
    return {"variance": trace.item(), "squared_mean": squared_mean.item()}


def flat(gradients: Sequence[Tensor]) -> Tensor:
    """One vector."""
    return torch.cat([g.reshape(-1) for g in gradients])


def table(results: Sequence[dict[str, Any]]) -> str:
    """Median and range over seeds of the last held-out ELBO, and the median time, for every data set and model."""
    lines = []
    for data, model in sorted({(r["data"], r["model"]) for r in results}):
        lines += [
            "",
            f"{data}, {model}: held-out ELBO, nats: median [lowest, highest]; L_50; seconds; log10 of the variance",
        ]
        for name, runs in by_contender(results, data, model).items():
            ends = sorted(r["curve"][-1]["elbo"] for r in runs)
            seconds = median(r["curve"][-1]["seconds"] for r in runs)
            noise = median(np.log10(r["curve"][-1]["variance"] + 1e-30) for r in runs)
            weighted = median(r["curve"][-1]["iwae"] for r in runs)
            span = f"{median(ends):9.2f} [{ends[0]:9.2f}, {ends[-1]:9.2f}]"
            lines.append(f"  {name:28s} {span} {weighted:9.2f} {seconds:7.0f} s {noise:7.2f}")
    return "\n".join(lines)


def by_contender(results: Sequence[dict[str, Any]], data: str, model: str) -> dict[str, list[dict[str, Any]]]:
    """The runs of each contender on one problem, the best first."""
    names = dict.fromkeys(r["contender"] for r in results)
    runs = {n: [r for r in results if (r["contender"], r["data"], r["model"]) == (n, data, model)] for n in names}
    kept = {n: found for n, found in runs.items() if found}
    return dict(sorted(kept.items(), key=lambda item: -median(r["curve"][-1]["elbo"] for r in item[1])))


def draw(name: str, results: Sequence[dict[str, Any]], folder: Path) -> None:
    """One picture for each data set and model: the bound against steps and against time, and the variance."""
    from matplotlib import colormaps

    for data, model in sorted({(r["data"], r["model"]) for r in results}):
        figure = new_figure(15.0, 4.6)
        panels = figure.subplots(1, 3)
        groups = by_contender(results, data, model)
        colours = dict(zip(sorted(groups), colormaps["tab20"](range(20)), strict=False))
        for contender, runs in groups.items():
            for axes, x, y in zip(panels, ["step", "seconds", "step"], ["elbo", "elbo", "variance"], strict=True):
                band(axes, runs, x, y, colours[contender], contender)
        finals = [median(r["curve"][-1]["elbo"] for r in runs) for runs in groups.values()]
        low = min(finals) if min(finals) > max(finals) - 60 else max(finals) - 60
        for axes in panels[:2]:
            axes.set_ylim(low - 10, max(finals) + 3)
        panels[2].set_yscale("log")
        titles = ["Held-out ELBO", "The same against time", "Variance of φ's gradient"]
        for axes, title, x, y in zip(
            panels, titles, ["step", "seconds", "step"], ["nats", "nats", "trace"], strict=True
        ):
            style_axes(axes, title=title, x=x, y=y)
        figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside right center", frameon=False)
        figure.suptitle(f"{data}, {model}", fontsize=10)
        figure.savefig(folder / f"{name}_{data}_{model}.png", dpi=110)


def band(axes: Any, runs: Sequence[dict[str, Any]], x: str, y: str, colour: Any, label: str) -> None:
    """The median over seeds, and the range between the lowest and the highest."""
    at = np.median([[p[x] for p in r["curve"]] for r in runs], axis=0)
    values = np.array([[p[y] for p in r["curve"]] for r in runs])
    start = 1 if y == "elbo" else 0
    axes.plot(at[start:], np.median(values, axis=0)[start:], color=colour, label=label, linewidth=1.2)
    axes.fill_between(at[start:], values.min(0)[start:], values.max(0)[start:], color=colour, alpha=0.15, linewidth=0)
