"""What a training step of discrete and adversarial families costs beside a VAE with the same nets.

    full layers     784-200-200-32 and back, ReLU; the layers of bits are one of 32 bits behind the same nets
    maps            `nets.ToMap` and `nets.FromMap` of 32 and 32 channels, 28 × 28 to 7 × 7 and back; the VAE has 16
                    numbers at each place

Binary images, batches of 128, the loss that the plan of each recipe has, eager Adam, one thread. A step is all that the
loop does in one: what follows the steps (codebooks, chains of a Boltzmann machine, weights that warm up), the forward
and the backward pass and the update. Where a recipe has a second stage, a step of it has a row, and one on −log p(z)
another where its first steps are by a loss of the prior. The seconds are those that the process computes, medians over
rounds in which all take turns; the first of each group is the base of its ratios. Memory is the most that torch had
allocated during a step, with parameters and Adam's moments.

python benchmarks/code_families.py [--repeats 7] [--steps 5] [--only vq]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from contenders import binary_images
from families import peak_bytes
from timing import RESULTS, interleave, machine

from lowerbound import VariationalLoss
from lowerbound.data import Dataset
from lowerbound.data.given import dataset_of
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import Loss, PriorAlone
from lowerbound.model import LatentVariableModel
from lowerbound.nets import FromMap, ToMap
from lowerbound.objectives import ELBO
from lowerbound.optimizers import Adam
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.protocols import FollowsSteps
from lowerbound.training.engine import Engine
from lowerbound.training.steps import EagerStep
from lowerbound.training.tuning import cpu_tuning

BATCH_SIZE, ROWS, SHAPE, LR = 128, 3000, (28, 28), 1e-4
NETS: dict[str, Any] = {"hidden": [200, 200]}
BITS: dict[str, Any] = {"latent_dims": [32], "hidden": [[200, 200]]}
MAPS: dict[str, Any] = {"hidden": [32, 32]}
CONTENDERS: dict[str, dict[str, Mapping[str, Any]]] = {
    "full layers": {
        "vae": {**NETS, "latent_dim": 32, "objective": "elbo", "num_samples": 1},
        "two-stage": {**NETS, "latent_dim": 32},
        "two-stage:prior=flow-matching": {**NETS, "latent_dim": 32},
        "avb": {**NETS, "latent_dim": 32},
        "aae": {**NETS, "latent_dim": 32},
        "vae-gan": {**NETS, "latent_dim": 32},
        "dvae:latent_dim=32": NETS,
        "dvae:latent_dim=64": NETS,
        "binary-layers": BITS,
        "concrete-layers": BITS,
    },
    "maps": {
        "vae of maps": MAPS,
        "fsq:levels=[8,4,4]": MAPS,
        "vq:num_codes=128": MAPS,
        "vq:num_codes=128,codebook=gradient": MAPS,
        "vq:num_codes=128,stages=4": MAPS,
    },
}


def main() -> None:
    """Read the options, time each group in rounds, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="in each turn")
    parser.add_argument("--only", default="", help="run the contenders whose name contains this, and the bases")
    parser.add_argument("--out", type=Path, default=RESULTS / "code_families.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = dataset_of(binary_images(ROWS).unflatten(-1, SHAPE).byte().numpy())
    results: dict[str, Any] = {}
    with cpu_tuning(torch.device("cpu")):
        for group, contenders in CONTENDERS.items():
            base = next(iter(contenders))
            chosen = {name: options for name, options in contenders.items() if name == base or given.only in name}
            results[group] = measure(chosen, base, data, given)
            content = {"protocol": __doc__, "machine": machine(), "results": results}
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(content, indent=2) + "\n")
    for group, rows in results.items():
        print(f"\n{group:<48} {'ms':>9} {'over':>9} {'MB':>9}")
        for name, row in rows.items():
            print(f"{name:<48} {row['step_ms']:9.2f} {row['step_ms_over_base']:9.2f} {row['step_mb']:9.1f}")


def measure(
    contenders: dict[str, Mapping[str, Any]], base: str, data: Dataset, given: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """The rows of a group: milliseconds of a step of each stage, their ratio to the base, and memory."""
    x = torch.as_tensor(data.x_train[:BATCH_SIZE]).float()
    losses: dict[str, Loss] = {}
    for name, options in contenders.items():
        losses |= stages_of(name, options, data)
    steps = {name: make_step(loss, x) for name, loss in losses.items()}
    turns = {name: repeated(step, given.steps) for name, step in steps.items()}
    seconds = interleave(turns, given.repeats, clock="cpu")
    times = {name: 1e3 * statistics.median(taken) / given.steps for name, taken in seconds.items()}
    return {
        name: {
            "step_ms": times[name],
            "step_ms_over_base": times[name] / times[base],
            "step_mb": peak_bytes(losses[name], steps[name]) / 1e6,  # type: ignore[arg-type]
        }
        for name in losses
    }


def stages_of(name: str, options: Mapping[str, Any], data: Dataset) -> dict[str, Loss]:
    """The loss of a recipe, and that of its second stage."""
    if name == "vae of maps":
        return {name: vae_of_maps(options["hidden"], data)}
    planned = plan(data, name, **options, batch_size=BATCH_SIZE, steps=1000, device="cpu", compile=False)
    training = prepare(data, planned, planned.engine())
    losses: dict[str, Loss] = {name: training.loss}
    if training.finish is not None:
        x = training.source.transform(*training.source.gather(torch.arange(1000)))[0]

        def second() -> PriorAlone:
            return PriorAlone(prepare(data, planned, planned.engine()).loss.model, x)  # weights of its own

        losses[f"{name}, second stage"] = second()
        closing = second()
        if (course := closing.of_length(1)) is not None and course.has_own_loss:  # whose one step is on −log p(z)
            losses[f"{name}, second stage, on −log p(z)"] = closing
    return losses


def vae_of_maps(hidden: list[int], data: Dataset, features: int = 16) -> VariationalLoss:
    """The nets of the quantised recipes with a normal latent."""
    torch.manual_seed(0)
    encoder, decoder = ToMap(SHAPE, hidden, (2, features)), FromMap(features, hidden[::-1], SHAPE)
    prior = StandardNormal((features, *encoder.out_shape[-2:]))
    model = LatentVariableModel(prior=prior, likelihood=Bernoulli(decoder), posterior=DiagonalNormal(encoder))
    model.initialize(torch.as_tensor(data.x_train[:1000]).float())
    return VariationalLoss(model, ELBO("kl"), Pathwise())


def make_step(loss: Loss, x: torch.Tensor) -> Callable[[], object]:
    """One eager training step, with what follows the steps."""
    step, number = EagerStep(loss, lambda rows: (rows,), Engine(device="cpu"), Adam(), None), itertools.count()
    following = [part for part in loss.modules() if isinstance(part, FollowsSteps)]

    def take() -> None:
        i = next(number)
        for part in following:
            part.at_step(i)
        step((x,), LR)

    return take


def repeated(call: Callable[[], object], count: int) -> Callable[[], None]:
    """A turn of several calls."""

    def turn() -> None:
        for _ in range(count):
            call()

    return turn


if __name__ == "__main__":
    main()
