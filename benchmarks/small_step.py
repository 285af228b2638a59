"""Time of one step of a small network: 64-128-8 and back, batch 64, Adam, against pythae and a hand-written loop.

On a machine that others share, `--clock cpu --threads 1` counts the seconds that are computed.

python benchmarks/small_step.py [--repeats 9] [--clock cpu --threads 1]        needs the `bench` extra
"""

from __future__ import annotations

import argparse

import torch
from contenders import binary_images, hand_written, lowerbound_loop, pythae_trainer
from timing import CLOCKS, interleave, report

STEPS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x = binary_images(64 * STEPS, 64)
    size = {"hidden": 128, "latent": 8, "batch_size": 64}
    contenders = {
        "lowerbound compiled": lowerbound_loop(x, **size, compile=True),
        "lowerbound eager": lowerbound_loop(x, **size, compile=False),
        "hand-written": hand_written(x, **size),
        "pythae 0.1.2": pythae_trainer(x, **size),
    }
    protocol = (
        f"milliseconds a step ({arguments.clock} time), over passes of {STEPS} steps: 64-128-8 and back, ReLU, "
        "batch 64, Adam, CPU"
    )
    seconds = interleave(contenders, arguments.repeats, clock=arguments.clock)
    report("small_step", protocol, seconds, 1e3 / STEPS, "ms", "lowerbound compiled")


if __name__ == "__main__":
    main()
