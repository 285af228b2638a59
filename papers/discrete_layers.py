"""One and two layers of 200 bits, by VIMCO and by the Concrete relaxation (Maddison, Mnih & Teh 2017, arXiv:1611.00712,
table 1), on MNIST binarized anew at every visit.

    bits        200-784 and 200-200-784, linear maps, IWAE of m samples by the score function with VIMCO's baselines
    relaxed     the same nets, relaxed bits (τ = 2/3 of q, 1/2 of p), IWAE of m samples by pathwise gradients

All are scored as discrete models: L_K of the first test images, for the relaxed ones that of the same weights with
Bernoulli layers. The published order at m = 5 is: two layers below one in −log p, and VIMCO not above Concrete.
Differences are paired by image. Adam, batches of 64, a learning rate that falls from its start to a hundredth by a
cosine; steps are the same for all, and a small part of those of the paper. Several numbers of steps, each a fit of its
own, and several rates show where the order depends on them.

python papers/discrete_layers.py          writes results/discrete_layers.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch
from pinned import FIT
from torch import Tensor

import lowerbound as lb
from lowerbound.evaluate import log_evidence
from lowerbound.models import discretised

RESULTS = Path(__file__).parent / "results"
CELLS: dict[str, tuple[str, str, int]] = {
    "vimco 1": ("binary-layers", "score-function:baseline=leave-one-out", 1),
    "vimco 2": ("binary-layers", "score-function:baseline=leave-one-out", 2),
    "concrete 1": ("concrete-layers", "pathwise", 1),
    "concrete 2": ("concrete-layers", "pathwise", 2),
}
PAIRS = (("vimco 2", "vimco 1"), ("concrete 2", "concrete 1"), ("vimco 1", "concrete 1"), ("vimco 2", "concrete 2"))


def main() -> None:
    """Fit every cell for each seed, number of steps and rate; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 4000, 16_000])
    parser.add_argument("--lr", type=float, nargs="+", default=[2e-3])
    parser.add_argument("--m", type=int, default=5, help="samples")
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test-images", type=int, default=500)
    parser.add_argument("--evidence-samples", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULTS / "discrete_layers.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = {name: value for name, value in vars(given).items() if name != "out"}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "runs": []}
    for seed, steps, lr in itertools.product(range(given.seeds), given.steps, given.lr):
        found: dict[str, Any] = {}
        scores: dict[str, Tensor] = {}
        for name in given.cells:
            found[name], scores[name] = run(name, seed, steps, lr, given)
            print(seed, steps, lr, name, found[name], flush=True)
        pairs = [pair for pair in PAIRS if scores.keys() >= {*pair}]
        differences = {f"{one} − {other}": gain(scores[one], scores[other]) for one, other in pairs}
        print(seed, steps, lr, differences, flush=True)
        results["runs"].append({"seed": seed, "steps": steps, "lr": lr, "cells": found, "gains": differences})
        given.out.write_text(json.dumps(results, indent=2) + "\n")


def run(name: str, seed: int, steps: int, lr: float, given: argparse.Namespace) -> tuple[dict[str, float], Tensor]:
    """One cell: its numbers, and L_K of each image under the discrete model."""
    recipe, gradient, layers = CELLS[name]
    start = time.process_time()
    settings = {**FIT, "objective": "iwae", "num_samples": given.m, "batch_size": 64, "lr": lr}
    model = {"latent_dims": [200] * layers, "hidden": [[]] * layers}
    settings |= {"gradient": gradient, "seed": seed}
    fitted = lb.fit(given.data, recipe, **model, **settings, steps=steps, compile=False)
    seconds = time.process_time() - start
    discrete = fitted.model if recipe == "binary-layers" else discretised(fitted.model)
    x = fitted.events(fitted.dataset.x_test[: given.test_images], seed=0)
    evidence = log_evidence(discrete, x, num_samples=given.evidence_samples)
    row = {
        "negative_log_likelihood": -evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "negative_elbo": -evidence.mean_elbo,
        "cpu_seconds_training": round(seconds, 1),
    }
    return row, evidence.log_evidence


def gain(one: Tensor, other: Tensor) -> dict[str, float]:
    """Nats an image by which the first is better, and the standard error over images."""
    difference = one - other
    return {"mean": difference.mean().item(), "standard_error": difference.std().item() / len(difference) ** 0.5}


if __name__ == "__main__":
    main()
