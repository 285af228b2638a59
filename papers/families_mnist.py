"""Every posterior against every prior on dynamic MNIST: one network, one budget.

784-200-200-50 and back, tanh, Bernoulli pixels re-sampled at every visit, output bias started at the data mean, the
ELBO from one sample with pathwise gradients and the rate in closed form where there is one, Adam, batch 100, the
weights with the best held-out bound. The learning rate falls from 3e-3 to a hundredth of that along a cosine over the
budget: after 20 epochs this is 13 nats better for the first cell than an exponential fall from 1e-3, which has not got
going by then. Gradients are clipped at a norm of 100. The score is L_1000 of the first 1,000 test images, binarized
once with a fixed seed, so that the difference of two cells has a paired standard error; that error is over images and
knows nothing of the luck of a training run, which the three seeds of some cells show.

A cell is refused where the library refuses the pair, and left out where the budget would take longer than --longest
minutes: a VampPrior evaluates q(z | u) at foreign z, and for IAF each such density takes latent_dim passes. That is why
the VampPrior of the grid has 20 pseudo-inputs; the diagonal normal, whose densities are cheap, also gets the 500 of the
paper. Seconds per epoch are of the processor, one thread, held-out evaluation included.

Every cell is saved when it ends, and cells that are saved already are not run again.

python papers/families_mnist.py --epochs 20
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pinned import pinned
from torch import Tensor

from lowerbound.data import Dataset, load
from lowerbound.evaluate import log_evidence, summary
from lowerbound.fitting.planning import Plan
from lowerbound.fitting.preparing import Training, prepare, transform_rows
from lowerbound.fitting.stages import fit
from lowerbound.randomness import forked
from lowerbound.training.tuning import cpu_tuning

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
POSTERIORS = ("diagonal-normal", "auxiliary-normal", "full-normal", "iaf", "planar:layers=10", "sylvester")
PRIORS = ("standard-normal", "mixture-normal", "flow-prior:kind=affine", "vamp-prior:components=20")


@dataclass(frozen=True)
class Cell:
    """One model, and the seed of everything random in its training."""

    posterior: str
    prior: str
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.posterior} | {self.prior} | seed {self.seed}"


REFERENCE = Cell(POSTERIORS[0], PRIORS[0])
VAMP = "vamp-prior:components=500"
CELLS = (
    *(Cell(posterior, PRIORS[0], seed) for posterior in (POSTERIORS[0], "full-normal") for seed in (0, 1, 2)),
    *(Cell(POSTERIORS[0], prior, seed) for prior in (VAMP, *PRIORS[1:]) for seed in (0, 1, 2)),
    *(Cell(posterior, prior) for prior in PRIORS for posterior in POSTERIORS[1:-1] if posterior != "full-normal"),
    *(Cell("full-normal", prior) for prior in PRIORS[1:]),
    *(Cell(POSTERIORS[-1], prior) for prior in PRIORS),  # the slowest come last
)


def main() -> None:
    """Read the options, run the cells that are missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--evidence-samples", type=int, default=1000)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--train-images", type=int, default=60_000)
    parser.add_argument("--longest", type=float, default=30, help="minutes of training above which a cell is left out")
    parser.add_argument("--only", default="", help="run only the cells whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS / "families_mnist.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mnist = load("mnist")
    dataset = replace(mnist, x_train=mnist.x_train[: arguments.train_images], y_train=None, y_test=None)
    for cell in CELLS:
        plan = plan_of(dataset, cell, arguments)
        if arguments.only in str(cell) and not is_done(cell, plan, arguments):
            print(f"{cell} …", flush=True)
            result, values = run(dataset, plan, arguments)
            known = {**asdict(cell), **result, "clip_norm": plan.clip_norm, **protocol_of(plan, arguments)}
            save(cell, known, values, arguments.out)
            print({key: result[key] for key in list(result)[:5]}, flush=True)
    print_table(arguments.out)


def plan_of(dataset: Dataset, cell: Cell, arguments: argparse.Namespace) -> Plan:
    """The network and the budget, the same for all."""
    return pinned(
        dataset,
        {
            "latent_dim": 50,
            "hidden": [200, 200],
            "activation": "tanh",
            "posterior": cell.posterior,
            "prior": cell.prior,
        },
        batch_size=100,
        epochs=arguments.epochs,
        lr=3e-3,
        lr_schedule="cosine",
        clip_norm=100.0,
        seed=cell.seed,
        device="cpu",
        compile=False,
    )


def run(dataset: Dataset, plan: Plan, arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Train and score one cell; the second part is per test image."""
    engine = plan.engine()
    try:
        training = prepare(dataset, plan, engine)
    except ValueError as refusal:
        return {"refused": str(refusal)}, {}
    minutes = seconds_per_step(training, plan) * training.num_steps / 60
    if minutes > arguments.longest:
        return {"left_out": f"Training would take {minutes:.0f} minutes on one thread."}, {}
    start = time.process_time()
    bounds = [record.held_out["bound"] for record in fit(training, plan, engine) if record.held_out is not None]
    seconds = time.process_time() - start
    with forked(CPU, 0):
        x = training.transform(torch.as_tensor(dataset.x_test[: arguments.test_images]))
    model = training.loss.model
    evidence = log_evidence(model, x, num_samples=arguments.evidence_samples)
    result = {
        "negative_log_likelihood": -evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "negative_elbo": -evidence.mean_elbo,
        "active_units": summary(model, x).active_units,
        "seconds_per_epoch": seconds / arguments.epochs,
        "unreliable_fraction": evidence.unreliable_fraction,
        "effective_sample_size": evidence.effective_sample_size.mean().item(),
        "held_out_bounds": [round(bound, 2) for bound in bounds],
        "seconds_scoring": time.process_time() - start - seconds,
    }
    return result, {"log_evidence": evidence.log_evidence, "elbo": evidence.elbo}


def seconds_per_step(training: Training, plan: Plan) -> float:
    """Of the processor: the faster of two steps, without an update."""
    batch = transform_rows(training.source, torch.arange(min(plan.batch_size, len(training.source))))
    seconds = []
    for _ in range(2):
        with cpu_tuning(CPU), forked(CPU, 0):
            start = time.process_time()
            training.loss(*batch).loss.backward()
            seconds.append(time.process_time() - start)
    training.loss.zero_grad(set_to_none=True)
    return min(seconds)


def protocol_of(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """What two runs of a cell must share to be the same."""
    return {
        "epochs": arguments.epochs,
        "learning_rate": f"{plan.lr_schedule} from {plan.lr}",
        "objective": plan.objective,
        "num_samples": arguments.evidence_samples,
        "num_images": arguments.test_images,
        "num_train_images": arguments.train_images,
        "threads": torch.get_num_threads(),
    }


def is_done(cell: Cell, plan: Plan, arguments: argparse.Namespace) -> bool:
    """Whether the results hold this cell, run in the same way."""
    known = read(arguments.out)["cells"].get(str(cell), {})
    return protocol_of(plan, arguments).items() <= known.items()


def read(out: Path) -> dict[str, Any]:
    """All that was saved."""
    return json.loads(out.read_text()) if out.exists() else {"protocol": __doc__, "cells": {}}


def read_values(out: Path) -> dict[str, np.ndarray]:
    """What was saved per test image, by cell and quantity; it lies beside the results."""
    path = out.with_suffix(".npz")
    return dict(np.load(path)) if path.exists() else {}


def save(cell: Cell, result: dict[str, Any], values: dict[str, Tensor], out: Path) -> None:
    """Add one cell to what the files hold now, and set every cell against the first."""
    per_image = read_values(out) | {f"{cell} | {name}": value.float().numpy() for name, value in values.items()}
    results = read(out)
    results["cells"][str(cell)] = result
    for name, known in results["cells"].items():
        against(known, str(REFERENCE), name, per_image, "gain_over_reference")
        standard = Cell(known["posterior"], PRIORS[0], known["seed"])
        against(known, str(standard), name, per_image, "gain_over_standard_prior")
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out.with_suffix(".npz"), **per_image)  # pyright: ignore[reportArgumentType]
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=2) + "\n")
    partial.replace(out)


def against(known: dict[str, Any], base: str, name: str, per_image: dict[str, np.ndarray], key: str) -> None:
    """Nats of log p̂(x) that one cell is better than another on the same images, and the standard error of that."""
    one, other = (per_image.get(f"{cell} | log_evidence") for cell in (name, base))
    if one is None or other is None or len(one) != len(other):
        return
    gain = one.astype(np.float64) - other
    known[key] = gain.mean()
    known[f"{key}_error"] = gain.std(ddof=1) / len(gain) ** 0.5


def print_table(out: Path) -> None:
    """One line per cell."""
    print(
        f"{'posterior':<18}{'prior':<28}{'-L_K':>8}{'s.e.':>6}{'gain':>8}{'s.e.':>6}{'-ELBO':>9}{'active':>7}{'s/ep':>7}"
    )
    for cell in read(out)["cells"].values():
        name = f"{cell['posterior']:<18}{cell['prior']:<28}"
        if "negative_log_likelihood" not in cell:
            print(name, cell.get("refused", cell.get("left_out")))
            continue
        gain, error = cell.get("gain_over_reference", float("nan")), cell.get("gain_over_reference_error", float("nan"))
        print(
            f"{name}{cell['negative_log_likelihood']:8.2f}{cell['standard_error_over_images']:6.2f}{gain:8.2f}"
            f"{error:6.2f}{cell['negative_elbo']:9.2f}{cell['active_units']:7d}{cell['seconds_per_epoch']:7.1f}"
        )


if __name__ == "__main__":
    main()
