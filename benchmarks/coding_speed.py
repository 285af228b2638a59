"""Images a second that `Codec` codes and decodes, nets included, and the memory it takes.

What `compress` does besides, decoding once to compare and 16 draws for the bound, is in `lossless.py`. Models are those
of `lossless.py`, of which --runs keeps the trained ones. Seconds are CPU seconds of one thread, medians of some rounds.

python benchmarks/coding_speed.py [--rows 1500] [--rounds 3] [--steps 2000] [--runs FOLDER]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from lossless import CASES, data_of, fitted_to
from timing import RESULTS, machine

from lowerbound.verbs.lossless import codec_of, grid_for

NAMES = ("binarized MNIST", "MNIST")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--runs", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in NAMES:
        train, test = data_of(CASES[name], arguments.rows)
        run = None if arguments.runs is None else arguments.runs / name.replace(" ", "-")
        fitted = fitted_to(CASES[name], train, {"steps": arguments.steps}, run)
        flat = np.asarray(fitted.rows(test).x).reshape(len(test), -1)
        grid = grid_for(fitted, flat)
        codec, k, seconds = codec_of(fitted, grid), grid.numbers(flat, None), []
        for _ in range(arguments.rounds):
            start = time.process_time()
            coded = codec.encode(k)
            between = time.process_time()
            assert np.array_equal(codec.decode(coded.stack, coded.groups), k)
            seconds.append((between - start, time.process_time() - between))
        encode, decode = (statistics.median(part) for part in zip(*seconds, strict=True))
        results[name] = {
            "images": len(k),
            "encode_images_per_second": round(len(k) / encode),
            "decode_images_per_second": round(len(k) / decode),
            "decode_over_encode": round(decode / encode, 3),
            "peak_mebibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        print(name, *(f"{key} {value:,}" for key, value in results[name].items()))
    (RESULTS / "coding_speed.json").write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
