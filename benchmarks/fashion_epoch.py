"""Seconds of an epoch of Fashion-MNIST by `lowerbound fit fashion-mnist --network convolution`, from some steps.

The steps are those of the plan, with the default objective and with the ELBO, uncompiled and compiled; the time of a
step is the median over the records after the first, of which there are two at least (30 steps), an epoch is of the
55,000 rows that are trained on. Run it on a quiet machine.

python benchmarks/fashion_epoch.py [--steps 60] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import pairwise

import torch
from timing import RESULTS, machine

from lowerbound.data import load
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import parts_of, prepare
from lowerbound.training.loop import train

EVERY = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if arguments.steps < 3 * EVERY:
        parser.error(f"--steps {arguments.steps} makes fewer than three records; give at least {3 * EVERY}.")
    torch.set_num_threads(arguments.threads)
    dataset, results = load("fashion-mnist", download=False), {}
    for network in ("convolution", "mlp"):
        for objective in (None, "elbo"):
            planned = plan(dataset, "vae", network=network, objective=objective, seed=0)
            training, compiled_too = prepare(dataset, planned, planned.engine()), network == "convolution"
            rows = len(parts_of(dataset, planned, "unused")[0])
            for compiled in (False, True)[: 1 + compiled_too]:
                records = train(
                    training.loss,
                    training.source,
                    num_steps=arguments.steps,
                    batch_size=planned.batch_size,
                    lr=planned.lr,
                    log_every=EVERY,
                    compile=compiled,
                )
                times = [time.monotonic() for _ in records]
                step = statistics.median((b - a) / EVERY for a, b in pairwise(times[1:]))
                name = (
                    f"{network}, {planned.objective}, {planned.num_samples} samples, "
                    + "un" * (not compiled)
                    + "compiled"
                )
                results[name] = {
                    "milliseconds_a_step": round(1000 * step, 2),
                    "seconds_an_epoch": round(step * rows / planned.batch_size, 1),
                }
                print(f"{name:<48}{results[name]}", flush=True)
    content = {"protocol": __doc__, "machine": machine(), "threads": arguments.threads, "results": results}
    (RESULTS / "fashion_epoch.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
