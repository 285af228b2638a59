"""Annealed importance sampling of images: seconds for 1,000 distributions × 16 chains on 100 images.

    python benchmarks/annealed.py [--images 100] [--distributions 1000] [--chains 16] [--leapfrog 10] [--start prior]
    python benchmarks/annealed.py --against FOLDER [--rounds 3]

784-200-200-50 and back, tanh, with the weights that it starts with: a step takes as long whatever they are. The images
are binary noise at the rate of ink of MNIST. Prints the seconds and writes benchmarks/results/annealed.json.

With --against, this version and another one, whose sources are in FOLDER, take turns in processes of their own, and
computing seconds of one thread are compared; the result is benchmarks/results/annealed_against.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import torch
from timing import RESULTS, machine

import lowerbound
from lowerbound.evaluate import annealed_importance
from lowerbound.evaluate.annealed import AnnealingStart
from lowerbound.models import vae

INK = 0.13


def measure(images: int, distributions: int, chains: int, leapfrog: int, start: AnnealingStart) -> dict[str, float]:
    torch.manual_seed(0)
    model = vae((28, 28), latent_dim=50, hidden=[200, 200], activation="tanh").eval()
    x = (torch.rand(images, 28, 28) < INK).float()

    def run(count: int) -> tuple[float, float, float]:
        begun, computed = time.perf_counter(), time.process_time()
        found = annealed_importance(
            model, x, num_distributions=count, num_chains=chains, num_leapfrog=leapfrog, start=start
        )
        return time.perf_counter() - begun, time.process_time() - computed, found.mean

    run(min(2, distributions))  # warm-up
    seconds, computed, mean = run(distributions)
    return {
        "seconds": seconds,
        "computing_seconds": computed,
        "milliseconds_per_distribution": 1000 * seconds / distributions,
        "mean_log_evidence": mean,
    }


def against(folder: Path, rounds: int, options: dict[str, Any]) -> dict[str, Any]:
    """The computing seconds of both versions, in turns."""
    own = Path(lowerbound.__file__).parents[1]
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    found: dict[str, list[dict[str, float]]] = {"this version": [], "the other version": []}
    for _ in range(rounds):
        for name, sources in zip(found, (own, folder), strict=True):
            environment = {**os.environ, "PYTHONPATH": str(sources), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, *words, "--no-save", "--threads", "1"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, found[name][-1], flush=True)
    medians = {name: statistics.median(one["computing_seconds"] for one in all_) for name, all_ in found.items()}
    new, old = medians.values()
    return {"medians": medians, "times_faster": round(old / new, 2), "runs": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 100, "distributions": 1000, "chains": 16, "leapfrog": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--start", choices=get_args(AnnealingStart), default="prior")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-save", action="store_true", help="only print")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="the folder src of another version")
    parser.add_argument("--rounds", type=int, default=3)
    options = vars(parser.parse_args())
    save, other, rounds = not options.pop("no_save"), options.pop("against"), options.pop("rounds")
    torch.set_num_threads(options.pop("threads"))
    result = measure(**options) if other is None else against(other, rounds, options)
    print(f"{options}, {torch.get_num_threads()} threads")
    print(json.dumps(result))
    if save:
        path = RESULTS / ("annealed.json" if other is None else "annealed_against.json")
        path.write_text(json.dumps({**options, **result, "machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
