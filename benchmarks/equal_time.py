"""Objectives and nets at an equal amount of computing: which default learns most of images.

Each contender trains a `vae` on the training images for the same number of CPU seconds of one thread: its cost a step
is measured first, and the cosine schedule of the learning rate is laid over the steps that fit. Scored is L_1000 of
the first test images, each binarized once. Each result is saved as soon as it is there, and what is saved is not
computed again.

python benchmarks/equal_time.py [--data mnist] [--seconds 300] [--seeds 0 1 2] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from timing import RESULTS, machine

import lowerbound as lb
from lowerbound.data import load
from lowerbound.evaluate import log_evidence
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit

CONTENDERS: dict[str, dict[str, Any]] = {
    "elbo": {"objective": "elbo"},
    "elbo sampled": {"objective": "elbo:rate=sampled"},
    "iwae 8": {"objective": "iwae"},
    "iwae 4": {"objective": "iwae", "num_samples": 4},
    "iwae 2": {"objective": "iwae", "num_samples": 2},
    "elbo 32": {"objective": "elbo", "latent_dim": 32},
    "elbo wide": {"objective": "elbo", "hidden": [512, 512], "latent_dim": 32},
    "elbo convolution": {"objective": "elbo", "network": "convolution", "hidden": [16, 32]},
    "iwae 4 convolution": {"objective": "iwae", "num_samples": 4, "network": "convolution", "hidden": [16, 32]},
    "iwae 8 convolution": {"objective": "iwae", "network": "convolution", "hidden": [16, 32]},
    "iwae 4 wide": {"objective": "iwae", "num_samples": 4, "hidden": [512, 512], "latent_dim": 32},
    "iwae 8 wide": {"objective": "iwae", "hidden": [512, 512], "latent_dim": 32},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--images", type=int, default=1000, help="test images that are scored")
    parser.add_argument("--out", type=Path, default=RESULTS / "equal_time.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    for seed in arguments.seeds:
        for name in arguments.only:
            key = f"{arguments.data}, {arguments.seconds:g} s, {name}, seed {seed}"
            if key not in saved:
                saved[key] = one(arguments, name, seed)
                content = {"protocol": __doc__, "machine": machine(), "results": saved}
                arguments.out.write_text(json.dumps(content, indent=1) + "\n")
                print(key, {k: v for k, v in saved[key].items() if k != "plan"}, flush=True)


def one(arguments: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Train for the given CPU time and score."""
    dataset = load(arguments.data)
    given = {"recipe": "vae", "device": "cpu", "seed": seed, "compile": False, **CONTENDERS[name]}
    train(dataset, {**given, "steps": 30})
    probe = 200
    spent, _, _ = train(dataset, {**given, "steps": probe})
    steps = int(arguments.seconds / spent * probe)
    spent, training, planned = train(dataset, {**given, "steps": steps})
    model = training.loss.model.eval()
    x = dataset.x_test[: arguments.images]
    x = torch.as_tensor(x).float() / (255 if x.dtype.kind == "u" else 1)
    if planned.binarization == "dynamic":
        x = torch.bernoulli(x, generator=torch.Generator().manual_seed(0))
    evidence = log_evidence(model, x, num_samples=1000)
    values = evidence.log_evidence.double()
    return {
        "log_evidence": round(values.mean().item(), 3),
        "standard_error": round(values.std().item() / len(values) ** 0.5, 3),
        "elbo": round(float(evidence.mean_elbo), 3),
        "steps": steps,
        "ms_a_step": round(1000 * spent / steps, 3),
        "cpu_seconds": round(spent, 1),
        "plan": planned.to_json(),
    }


def train(dataset: lb.data.Dataset, given: dict[str, Any]) -> tuple[float, Any, Any]:
    """CPU seconds of the steps, what was trained, and its plan."""
    planned = plan(dataset, **given)
    engine = planned.engine()
    training = prepare(dataset, planned, engine)
    begun = time.process_time()
    for _ in fit(training, planned, engine):
        pass
    return time.process_time() - begun, training, planned


if __name__ == "__main__":
    main()
