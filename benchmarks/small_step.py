"""Time of one step of a small network: 64-128-8 and back, batch 64, Adam, against pythae and a hand-written loop.

python benchmarks/small_step.py [--repeats 9]        needs the `bench` extra
"""

from __future__ import annotations

import argparse

from contenders import binary_images, hand_written, lowerbound_loop, pythae_trainer
from timing import interleave, report

STEPS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    x = binary_images(64 * STEPS, 64)
    size = {"hidden": 128, "latent": 8, "batch_size": 64}
    contenders = {
        "lowerbound compiled": lowerbound_loop(x, **size, compile=True),
        "lowerbound eager": lowerbound_loop(x, **size, compile=False),
        "hand-written": hand_written(x, **size),
        "pythae 0.1.2": pythae_trainer(x, **size),
    }
    protocol = f"milliseconds a step, over passes of {STEPS} steps: 64-128-8 and back, ReLU, batch 64, Adam, CPU"
    report("small_step", protocol, interleave(contenders, arguments.repeats), 1e3 / STEPS, "ms", "lowerbound compiled")


if __name__ == "__main__":
    main()
