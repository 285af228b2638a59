"""Time of one pass over MNIST: 784-512-20 and back, batch 128, Adam, against pythae, Pyro and a hand-written loop.

python benchmarks/epoch.py [--repeats 5]        needs the `bench` extra
"""

from __future__ import annotations

import argparse

from contenders import binary_images, hand_written, lowerbound_loop, pyro_svi, pythae_trainer
from timing import interleave, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    x = binary_images(60_000)
    size = {"hidden": 512, "latent": 20, "batch_size": 128}
    contenders = {
        "lowerbound compiled": lowerbound_loop(x, **size, compile=True),
        "lowerbound eager": lowerbound_loop(x, **size, compile=False),
        "hand-written": hand_written(x, **size),
        "pythae 0.1.2": pythae_trainer(x, **size),
        "pyro 1.9.2": pyro_svi(x, **size),
    }
    protocol = (
        "seconds for one pass over 60,000 thresholded MNIST images, 784-512-20 and back, ReLU, batch 128, Adam, CPU"
    )
    report("epoch", protocol, interleave(contenders, arguments.repeats), 1.0, "s", "lowerbound compiled")


if __name__ == "__main__":
    main()
