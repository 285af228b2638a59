"""What every posterior and every prior costs: time and memory of a training step, and the time of S draws with log q.

784-200-200-d and back, ReLU, batch 128, ELBO from one sample, eager Adam, CPU; d = 8, 32 and 128. Posteriors stand
beside a standard normal prior and priors beside a diagonal normal posterior, unless COMPANIONS names another partner
(discrete latents take two samples with the score function). Times are medians of turns taken by all contenders in the
same rounds, each turn at least a tenth of a second; a call of more than five seconds is timed once, and draws that
would take longer than that are left out. Memory is the most that torch had allocated during a step by its
profiler, with parameters and Adam's moments: it depends on no allocator and is the same in every run.

python benchmarks/families.py [--repeats 5] [--dims 8 32 128] [--samples 1 10 100] [--only iaf]
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from contenders import binary_images
from timing import CLOCKS, RESULTS, interleave, machine
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from lowerbound import VariationalLoss, gradients, objectives, posteriors, priors
from lowerbound.models import vae
from lowerbound.optimizers import Adam
from lowerbound.spelling import choices, construct
from lowerbound.training.engine import Engine
from lowerbound.training.steps import EagerStep
from lowerbound.training.tuning import cpu_tuning

BATCH_SIZE, TURN, SLOW = 128, 0.1, 5.0  # seconds
BASE = {"posterior": "diagonal-normal", "prior": "standard-normal"}
BASE_NAME = "diagonal-normal, standard-normal"
BINARY = {"posterior": "bernoulli", "prior": "bernoulli", "gradient": "score-function", "num_samples": 2}
ONE_HOT = {"posterior": "categorical", "prior": "categorical", "gradient": "score-function", "num_samples": 2}
COMPANIONS: dict[str, dict[str, Any]] = {
    "posterior bernoulli": BINARY,
    "posterior categorical": ONE_HOT,
    "posterior relaxed-bernoulli": {"prior": "relaxed-bernoulli"},
    "posterior relaxed-categorical": {"prior": "relaxed-categorical"},
    "prior bernoulli": BINARY,
    "prior rbm": BINARY,
    "prior autoregressive-bernoulli": BINARY,
    "prior relaxed-bernoulli": {"posterior": "relaxed-bernoulli"},
    "prior relaxed-categorical": {"posterior": "relaxed-categorical"},
    "prior categorical": ONE_HOT,
    "prior autoregressive-categorical": ONE_HOT,
}
VARIANTS = {
    "posterior": ("sylvester:basis=householder", "sylvester:basis=triangular"),
    "prior": ("flow-prior:kind=affine", "flow-prior:kind=coupling"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--only", default="", help="run the choices whose name contains this, and the base")
    parser.add_argument("--out", type=Path, default=RESULTS / "families.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = binary_images(BATCH_SIZE)
    results: dict[str, Any] = {}
    with cpu_tuning(x.device):
        for dim in arguments.dims:
            results[f"latent_dim {dim}"] = measure(x, dim, arguments)
            content = {"protocol": __doc__, "machine": machine(), "results": results}
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(content, indent=2) + "\n")
    print_table(results)


def measure(x: Tensor, dim: int, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every choice at one latent dimension."""
    rows: dict[str, dict[str, Any]] = {}
    losses: dict[str, VariationalLoss] = {}
    for name in names(arguments.only):
        try:
            losses[name] = make_loss(name, x, dim)
        except ValueError as refusal:
            rows[name] = {"refused": str(refusal)}
    steps = {name: make_step(loss, x) for name, loss in losses.items()}
    seconds = rounds(steps, arguments.repeats)
    for name, step in steps.items():
        rows[name] = {"step_ms": 1e3 * seconds[name], "step_mb": peak_bytes(losses[name], step) / 1e6}
    for key in ("step_ms", "step_mb"):
        for name in steps:
            rows[name][f"{key}_over_base"] = rows[name][key] / rows[BASE_NAME][key]
    models = {name: loss.model for name, loss in losses.items() if name.startswith(("posterior", BASE_NAME))}
    for num_samples in arguments.samples:
        seconds = rounds({name: draw_of(model, x, num_samples) for name, model in models.items()}, arguments.repeats)
        for name, taken in seconds.items():
            rows[name][f"draw_{num_samples}_ms"] = 1e3 * taken
            if 10 * taken > SLOW:  # the next S is ten times as large
                del models[name]
    return rows


def names(only: str) -> list[str]:
    """The base, then every exported choice of both axes and some variants."""
    axes = {"posterior": posteriors, "prior": priors}
    every = [f"{axis} {name}" for axis, package in axes.items() for name in (*choices(package), *VARIANTS[axis])]
    partners = {f"{axis} {name}" for axis, name in BASE.items()}
    return [BASE_NAME, *(name for name in every if only in name and name not in partners)]


def make_loss(name: str, x: Tensor, dim: int) -> VariationalLoss:
    """The loss of one choice and its companions."""
    axis, _, choice = name.partition(" ")
    options = dict(BASE) if name == BASE_NAME else BASE | COMPANIONS.get(name, {}) | {axis: choice}
    gradient, num_samples = options.pop("gradient", "pathwise"), options.pop("num_samples", 1)
    torch.manual_seed(0)
    model = vae((x.shape[1],), latent_dim=dim, hidden=(200, 200), **options)
    model.initialize(binary_images(5000))
    loss = VariationalLoss(model, objectives.ELBO(), construct(gradients, gradient), num_samples)
    loss.check(x[:2])
    return loss


def make_step(loss: VariationalLoss, x: Tensor) -> Callable[[], object]:
    """One eager training step."""
    step = EagerStep(loss, lambda rows: (rows,), Engine(device="cpu"), Adam(), None)
    return lambda: step((x,), 1e-4)


def draw_of(model: Any, x: Tensor, num_samples: int) -> Callable[[], object]:
    """Draw S latents for every datum and evaluate log q there, without gradients."""
    with torch.no_grad():
        q = model.infer(x)

    @torch.no_grad()
    def draw() -> Tensor:
        z = (q.rsample if q.has_rsample else q.sample)(torch.Size((num_samples,)))
        return q.log_prob(z)

    return draw


def rounds(calls: dict[str, Callable[[], object]], repeats: int, clock: str = "wall") -> dict[str, float]:
    """The median seconds of each call, over turns of enough calls to fill `TURN`; the slow ones were timed already."""
    first = {name: seconds_of(call, clock) for name, call in calls.items()}
    counts = {
        name: max(1, math.ceil(TURN / seconds_of(call, clock))) for name, call in calls.items() if first[name] <= SLOW
    }
    turns = {name: times(calls[name], count) for name, count in counts.items()}
    seconds = interleave(turns, repeats, warmup=0, clock=clock)
    return first | {name: statistics.median(taken) / counts[name] for name, taken in seconds.items()}


def seconds_of(call: Callable[[], object], clock: str) -> float:
    """Of one call."""
    start = CLOCKS[clock]()
    call()
    return CLOCKS[clock]() - start


def times(call: Callable[[], object], count: int) -> Callable[[], None]:
    """A turn of several calls."""

    def turn() -> None:
        for _ in range(count):
            call()

    return turn


def peak_bytes(loss: VariationalLoss, step: Callable[[], object]) -> int:
    """The most that torch had allocated at a time in a step, with what stays: parameters and Adam's two moments."""
    gc.collect()  # what is freed later counts as negative
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    assert recorded.profiler is not None
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most + 3 * sum(p.numel() * p.element_size() for p in loss.parameters())


def print_table(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    """One block per latent dimension."""
    for dim, rows in results.items():
        draws = [key for key in rows[BASE_NAME] if key.startswith("draw")]
        heads = ("ms", "over", "MB", "over", *(key.removesuffix("_ms") for key in draws))
        print(f"\n{dim:<40}", *(f"{head:>9}" for head in heads))
        for name, row in rows.items():
            if "refused" in row:
                print(f"{name:<40} {row['refused']}")
                continue
            numbers = (row["step_ms"], row["step_ms_over_base"], row["step_mb"], row["step_mb_over_base"])
            print(f"{name:<40}", *(f"{value:9.2f}" for value in (*numbers, *(row[key] for key in draws if key in row))))


if __name__ == "__main__":
    main()
