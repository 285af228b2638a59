"""What a step of each deep family costs, in time and memory, beside a plain convolutional autoencoder; and a draw.

Images of 28 × 28, batches of 100, the ELBO from one sample with KL in closed form, Adam, one thread of a CPU. Times are
medians of turns taken by all contenders in the same rounds, each turn at least a tenth of a second; a call of more than
five seconds is timed once. Memory is the most that torch had allocated during an eager step by its profiler, with
parameters and Adam's moments. Compiled steps are one graph each; the seconds of their compilation stand beside, once. A
draw is an image of 16 that are drawn together. On a machine that others share, `--clock cpu` counts the seconds that
are computed; those of compilation are always read from the clock.

Names are those of recipes, with their options. The first is the base of all ratios.

python benchmarks/deep_families.py [--repeats 5] [--only draw] [--clock cpu] [--compile [ladder skip-vae]]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from contenders import binary_images
from families import make_step, peak_bytes, rounds
from timing import CLOCKS, RESULTS, machine
from torch import Tensor

from lowerbound import VariationalLoss
from lowerbound.gradients import Pathwise
from lowerbound.objectives import ELBO
from lowerbound.recipes import recipe_named
from lowerbound.spelling import parse
from lowerbound.training.steps import CannotCompile, CompiledStep
from lowerbound.training.tuning import cpu_tuning

BATCH_SIZE, DRAWN, SHAPE = 100, 16, (28, 28)
BASE = "vae:network=convolution,hidden=[32,64]"
MAPS = "very-deep:network=convolution,latent_channels=8,hidden=16,width=32"
CONTENDERS = (
    BASE,
    "vae:hidden=[256,256]",
    "skip-vae:hidden=[256,256]",
    "ladder:latent_dims=[64,32,16],hidden=[[200,200],[100,100],[50,50]]",
    "very-deep:groups=[8]",
    "very-deep:groups=[16]",
    f"{MAPS},groups=[2,2,2]",
    f"{MAPS},groups=[1,2,3,2]",
    f"{MAPS},groups=[2,2,2],merge=residual,norm_groups=4",
    "draw:glimpses=10",
    "draw:glimpses=10,read=0,write=0",
    "pixel-vae:channels=8,layers=4",
)


def main() -> None:
    """Read the options, time in rounds, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="run the contenders whose name contains this, and the base")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--compile", nargs="*", default=[""], help="those whose name contains a word; none without one")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--out", type=Path, default=RESULTS / "deep_families.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    x = binary_images(given.batch_size).unflatten(-1, SHAPE)
    names = [name for name in CONTENDERS if name == BASE or given.only in name]
    with cpu_tuning(x.device):
        rows = measure(names, x, given)
    content = {"protocol": __doc__, "clock": given.clock, "machine": machine(), "results": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(content, indent=2) + "\n")
    print_table(rows)


def measure(names: list[str], x: Tensor, given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every contender: an eager step, a compiled one, a draw."""
    losses = {name: make_loss(name, x) for name in names}
    eager = {name: make_step(loss, x) for name, loss in losses.items()}
    rows: dict[str, dict[str, Any]] = {name: {} for name in names}
    for name, seconds in rounds(eager, given.repeats, given.clock).items():
        rows[name] = {"step_ms": 1e3 * seconds, "step_mb": peak_bytes(losses[name], eager[name]) / 1e6}
        rows[name]["parameters"] = sum(p.numel() for p in losses[name].parameters())
    draws = {name: draw_of(loss) for name, loss in losses.items()}
    for name, seconds in rounds(draws, given.repeats, given.clock).items():
        rows[name]["draw_ms_per_image"] = 1e3 * seconds / DRAWN
    chosen = [name for name in names if any(word in name for word in given.compile)]
    steps = compiled({name: make_loss(name, x) for name in chosen}, x, rows)
    for name, seconds in rounds(steps, given.repeats, given.clock).items():
        rows[name]["compiled_ms"] = 1e3 * seconds
    for row in rows.values():
        for key in ("step_ms", "step_mb", "compiled_ms"):
            if key in row and key in rows[BASE]:
                row[f"{key}_over_base"] = row[key] / rows[BASE][key]
    return rows


def make_loss(name: str, x: Tensor) -> VariationalLoss:
    """The loss of a recipe."""
    recipe, options = parse(name)
    torch.manual_seed(0)
    model = recipe_named(recipe).model(SHAPE, options)
    model.initialize(x)
    loss = VariationalLoss(model, ELBO("kl"), Pathwise())
    loss.check(x[:2])
    return loss


def compiled(
    losses: dict[str, VariationalLoss], x: Tensor, rows: dict[str, dict[str, Any]]
) -> dict[str, Callable[[], object]]:
    """Steps as one graph; the seconds of making each, or why there is none, are put into its row."""
    steps: dict[str, Callable[[], object]] = {}
    for name, loss in losses.items():
        step = CompiledStep(loss, lambda raw: (raw,), None)
        start = time.perf_counter()
        try:
            step.prepare((x,))
        except CannotCompile as refusal:
            rows[name]["not_compiled"] = str(refusal)
            continue
        rows[name]["compile_s"] = time.perf_counter() - start
        print(f"{name}: compiled in {rows[name]['compile_s']:.1f} s", flush=True)
        steps[name] = lambda step=step: step((x,), 1e-4)
    return steps


def draw_of(loss: VariationalLoss) -> Callable[[], object]:
    """Draw some images."""
    return lambda: loss.model.sample(DRAWN)


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """One line for each contender."""
    keys = (
        "step_ms", "step_ms_over_base", "compiled_ms", "compile_s", "step_mb", "step_mb_over_base", "draw_ms_per_image",
    )  # fmt: skip
    print(f"\n{'':<80}", *(f"{head:>9}" for head in ("ms", "over", "compiled", "s", "MB", "over", "draw")))
    for name, row in rows.items():
        print(f"{name:<80}", *(f"{row[key]:9.2f}" if key in row else f"{'':>9}" for key in keys))


if __name__ == "__main__":
    main()
