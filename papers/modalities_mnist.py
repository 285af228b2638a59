"""Images of digits and their labels by products and mixtures of experts: densities and coherence, for several seeds.

    product               q(z | x_A) ∝ p(z) Π_{m ∈ A} q_m(z)                    Wu & Goodman 2018, arXiv:1802.05335
    mixture               q(z | x_A) = mean_{m ∈ A} q_m(z)                      Shi et al. 2019, arXiv:1911.03393
    mixture-of-products   q(z | x_A) = mean of the products of all parts of A   Sutter et al. 2021, arXiv:2105.02470

Training pairs are the first --pairs of MNIST, each pixel drawn once as 0 or 1 from its grey value, and the label.
Reported for the first --test pairs: L_K of log p(image, label), of log p(image), their difference, and of log p(label);
L_1, whose mean is the ELBO; and the paired difference of log p(image, label) to the product. For --coherent test pairs
how often a label that is generated from an image, an image from a label, and both from a draw of the prior have the
same class, images told by a classifier.

python papers/modalities_mnist.py [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import lowerbound as lb
from lowerbound.data.download import needed

RESULTS = Path(__file__).parent / "results"
EXPERTS = ("product", "mixture", "mixture-of-products")
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pairs", type=int, default=12_000)
    parser.add_argument("--test", type=int, default=500, help="pairs whose density is reported")
    parser.add_argument("--coherent", type=int, default=2000, help="pairs and draws whose coherence is reported")
    parser.add_argument("--evidence-samples", type=int, default=500, help="K")
    parser.add_argument("--out", type=Path, default=RESULTS / "modalities_mnist.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {experts: {} for experts in EXPERTS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        np.savez(path, **cast(Any, pairs(given)))
        for seed in given.seeds:
            densities: dict[str, np.ndarray] = {}
            for experts in EXPERTS:
                densities[experts], numbers = one(path, experts, seed, given)
                ahead = densities["product"] - densities[experts]
                found[experts][str(seed)] = {**numbers, "product_ahead": of_rows(ahead)}
                print(experts, seed, found[experts][str(seed)], flush=True)
                save(found, given)


def pairs(given: argparse.Namespace) -> dict[str, np.ndarray]:
    """Binarized images and names of their classes, of the training and the test part."""
    rng, mnist, parts = np.random.default_rng(0), np.load(needed("mnist.npz")), {}
    for part, count in (("train", given.pairs), ("test", given.coherent)):
        grey = mnist[f"x_{part}"][:count]
        parts[f"image_{part}"] = (rng.random(grey.shape) < grey / 255).astype(np.uint8)
        parts[f"label_{part}"] = NAMES[mnist[f"y_{part}"][:count]]
    return parts


def one(path: Path, experts: str, seed: int, given: argparse.Namespace) -> tuple[np.ndarray, dict[str, Any]]:
    """log p(image, label) of the test pairs by one model, nats, and all that is reported of it."""
    begun = time.process_time()
    recipe = f"multimodal:experts={experts}"
    fitted = lb.fit(path, recipe, array="image,label", hidden=[128], steps=given.steps, seed=seed)
    spent = time.process_time() - begun
    test = fitted.test_rows()
    some = replace(test, x=test.x[: given.test], y=None, numbers=None)
    scores = fitted.block_scores(some, "image", num_samples=given.evidence_samples, seed=seed)
    of_label = fitted.block_scores(some, "label", num_samples=given.evidence_samples, seed=seed)["log_p_given"]
    elbo = fitted.block_scores(some, "image", num_samples=1, seed=seed)["log_p"]
    coherent = fitted.coherence("label", num_rows=given.coherent, num_draws=given.coherent, seed=seed)
    numbers = {
        **{name: of_rows(values) for name, values in scores.items()},
        "log_p_label": of_rows(of_label),
        "elbo": of_rows(elbo),
        "label_from_image": coherent.given["image"]["label"],
        "image_from_label": coherent.given["label"]["image"],
        "joint": coherent.joint,
        "accuracy_of_classifier": coherent.accuracy["image"],
        "cpu_seconds_of_fit": round(spent, 1),
    }
    return scores["log_p"], numbers


def of_rows(values: np.ndarray) -> list[float]:
    """The mean over rows and its standard error."""
    return [round(float(values.mean()), 4), round(float(values.std(ddof=1) / len(values) ** 0.5), 4)]


def save(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> None:
    """Write all numbers, and the mean of each over seeds with its standard error over seeds."""
    means = {experts: over_seeds(list(seeds.values())) for experts, seeds in found.items() if seeds}
    settings = {name: value for name, value in vars(given).items() if name != "out"}
    content = {"protocol": __doc__, "settings": settings, "means": means, "seeds": found}
    given.out.write_text(json.dumps(content, indent=1) + "\n")


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Mean and standard error over seeds of every number; 0 for the error of one seed."""
    values = {key: [run[key][0] if isinstance(run[key], list) else run[key] for run in runs] for key in runs[0]}
    return {
        key: [round(statistics.mean(v), 4), round(statistics.stdev(v) / len(v) ** 0.5, 4) if len(v) > 1 else 0.0]
        for key, v in values.items()
    }


if __name__ == "__main__":
    main()
