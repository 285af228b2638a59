"""A Boltzmann machine against independent bits as the prior of a discrete VAE (Rolfe 2017, arXiv:1609.02200), on MNIST.

Images are binarized anew at every visit. Both models have the same nets, 784-200-200-200 and back (tanh), overlapping
smoothing (β = 5), the rate in closed form under pathwise gradients, a warm-up of the rate over a fifth of the steps,
batches of 100, Adam with a learning rate that falls from 2e-3 to 2e-5, and the same seeds: from the same weights of
encoder and decoder they see the same rows. The machine has 100 + 100 units and 256 persistent chains.

Reported is L_K of the first test images, a bound of log p(x), and the difference, paired by image, of each seed. Before
the machine is scored, its log Z is estimated anew by annealing; the standard error of the difference holds that of
log Z, which is the same for all images.

python papers/dvae_mnist.py          writes results/dvae_mnist.json
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, cast

import torch
from pinned import FIT
from torch import Tensor

import lowerbound as lb
from lowerbound.evaluate import log_evidence, summary
from lowerbound.priors import RBM

RESULTS = Path(__file__).parent / "results"
MODEL: dict[str, Any] = {"latent_dim": 200, "hidden": [200, 200], "smoothing": "overlapping", "beta": 5.0}


def main() -> None:
    """Fit both priors for each seed; write after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--evidence-samples", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS / "dvae_mnist.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = {name: value for name, value in vars(given).items() if name != "out"}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "seeds": []}
    for seed in range(given.seeds):
        rows, scores, errors = {}, {}, {}
        for bits in ("bernoulli", "rbm"):
            rows[bits], scores[bits], errors[bits] = run(bits, seed, given)
            print(seed, bits, rows[bits], flush=True)
        difference = scores["rbm"] - scores["bernoulli"]
        error = math.hypot(difference.std().item() / len(difference) ** 0.5, errors["rbm"])
        found = {"gain": difference.mean().item(), "standard_error": error}
        print(seed, "rbm − bernoulli", found, flush=True)
        results["seeds"].append({**rows, "rbm_minus_bernoulli": found})
        given.out.write_text(json.dumps(results, indent=2) + "\n")


def run(bits: str, seed: int, given: argparse.Namespace) -> tuple[dict[str, Any], Tensor, float]:
    """One model: its numbers, L_K of each image, and the standard error of its log Z."""
    start = time.process_time()
    settings = {**FIT, "objective": f"beta-elbo:beta=1.0,rate=kl,warmup={given.steps // 5}", "batch_size": 100}
    fitted = lb.fit(given.data, "dvae", bits=bits, **MODEL, **{**settings, "lr": 2e-3, "seed": seed}, steps=given.steps,
                    compile=False)  # fmt: skip
    seconds, prior = time.process_time() - start, cast(Any, fitted.model.prior).prior
    partition = prior.anneal(seed=seed) if isinstance(prior, RBM) else None
    x = fitted.events(fitted.dataset.x_test[: given.test_images], seed=0)
    evidence = log_evidence(fitted.model, x, num_samples=given.evidence_samples)
    told = summary(fitted.model, x, num_samples=4)
    row = {
        "log_evidence": evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "elbo": evidence.mean_elbo,
        "rate": told.rate,
        "log_partition": None if partition is None else partition.value,
        "log_partition_error": None if partition is None else partition.standard_error,
        "cpu_seconds_training": round(seconds, 1),
    }
    return row, evidence.log_evidence, 0.0 if partition is None else partition.standard_error


if __name__ == "__main__":
    main()
