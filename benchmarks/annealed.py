"""Annealed importance sampling of images: seconds for 1,000 distributions × 16 chains on 100 images.

    python benchmarks/annealed.py [--images 100] [--distributions 1000] [--chains 16] [--leapfrog 10] [--start prior]

784-200-200-50 and back, tanh, with the weights that it starts with: a step takes as long whatever they are. The images
are binary noise at the rate of ink of MNIST. Prints the seconds and writes benchmarks/results/annealed.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import get_args

import torch
from timing import machine

from lowerbound.evaluate import annealed_importance
from lowerbound.evaluate.annealed import AnnealingStart
from lowerbound.models import vae

RESULTS = Path(__file__).parent / "results" / "annealed.json"
INK = 0.13


def measure(images: int, distributions: int, chains: int, leapfrog: int, start: AnnealingStart) -> dict[str, float]:
    torch.manual_seed(0)
    model = vae((28, 28), latent_dim=50, hidden=[200, 200], activation="tanh").eval()
    x = (torch.rand(images, 28, 28) < INK).float()

    def run(count: int) -> float:
        begun = time.perf_counter()
        annealed_importance(model, x, num_distributions=count, num_chains=chains, num_leapfrog=leapfrog, start=start)
        return time.perf_counter() - begun

    run(min(10, distributions))  # warm-up
    seconds = run(distributions)
    return {"seconds": seconds, "milliseconds_per_distribution": 1000 * seconds / distributions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 100, "distributions": 1000, "chains": 16, "leapfrog": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--start", choices=get_args(AnnealingStart), default="prior")
    parser.add_argument("--no-save", action="store_true", help="only print")
    options = vars(parser.parse_args())
    save = not options.pop("no_save")
    result = measure(**options)
    print(f"{options}, {torch.get_num_threads()} threads")
    for name, value in result.items():
        print(f"{name:>30} {value:10.2f}")
    if save:
        RESULTS.write_text(json.dumps({**options, **result, "machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
