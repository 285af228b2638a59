"""Time of one pass over MNIST: 784-512-20 and back, batch 128, Adam, against pythae, Pyro, JAX and a hand-written loop.

The matrix products alone are a floor. JAX takes part where it is installed. On a machine that others share,
`--clock cpu --threads 1` counts the seconds that are computed.

python benchmarks/epoch.py [--repeats 5] [--rows 60000] [--clock cpu --threads 1]        needs the `bench` extra
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

import torch
from contenders import binary_images, hand_written, jax_scan, lowerbound_loop, products, pyro_svi, pythae_trainer
from timing import CLOCKS, interleave, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=60_000, help="a pass over fewer images takes less time")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x = binary_images(arguments.rows)
    size: dict[str, Any] = {"hidden": 512, "latent": 20, "batch_size": 128}
    contenders = {
        "lowerbound compiled": lowerbound_loop(x, **size, compile=True),
        "lowerbound compiled, bf16": lowerbound_loop(x, **size, compile=True, precision="bf16"),
        "lowerbound eager": lowerbound_loop(x, **size, compile=False),
        "lowerbound eager, bf16": lowerbound_loop(x, **size, compile=False, precision="bf16"),
        "hand-written": hand_written(x, **size),
        "pythae 0.1.2": pythae_trainer(x, **size),
        "pyro 1.9.2": pyro_svi(x, **size),
        "products": products(len(x), x.shape[1], **size, dtype=torch.float32),
        "products, bf16": products(len(x), x.shape[1], **size, dtype=torch.bfloat16),
    }
    if find_spec("jax"):
        contenders["jax, one scan"] = jax_scan(x, **size)
    protocol = (
        f"{arguments.clock} seconds for one pass over {arguments.rows:,} thresholded MNIST images, "
        "784-512-20 and back, ReLU, batch 128, Adam, CPU"
    )
    seconds = interleave(contenders, arguments.repeats, clock=arguments.clock)
    report("epoch", protocol, seconds, 1.0, "s", "lowerbound compiled")


if __name__ == "__main__":
    main()
