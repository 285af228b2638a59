"""Local refinement of q(z | x): all data at once against one after the other.

    python benchmarks/refine.py [--images 1000] [--steps 100] [--loop 20] [--latent 50] [--repeats 3]

The loop over data points refines `--loop` of them and is scaled up to `--images`: each takes the same time. Both use
`Local`, so the difference is the batching alone. Prints a table and writes benchmarks/results/refine.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lowerbound.inference import Local
from lowerbound.models import vae

RESULTS = Path(__file__).parent / "results" / "refine.json"


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(images: int, steps: int, loop: int, latent: int, repeats: int) -> dict[str, float]:
    torch.manual_seed(0)
    model = vae((28, 28), latent_dim=latent, hidden=[200, 200])
    x = torch.rand(images, 28, 28).gt(0.5).float()
    scheme = Local(num_steps=steps)
    Local(num_steps=2)(model, x[:8])  # warm-up
    together, apart = [], []
    for _ in range(repeats):
        together.append(seconds(lambda: scheme(model, x)))
        apart.append(seconds(lambda: [scheme(model, row[None]) for row in x[:loop]]) * images / loop)
    batched, looped = statistics.median(together), statistics.median(apart)
    return {"batched_seconds": batched, "looped_seconds": looped, "speedup": looped / batched}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 1000, "steps": 100, "loop": 20, "latent": 50, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-save", action="store_true", help="only print")
    options = vars(parser.parse_args())
    save = not options.pop("no_save")
    result = measure(**options)
    print(f"{options['images']} images × {options['steps']} steps, {torch.get_num_threads()} threads")
    for name, value in result.items():
        print(f"{name:>16} {value:10.2f}")
    if save:
        RESULTS.write_text(json.dumps({**options, "threads": torch.get_num_threads(), **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
