"""Memory and time of L_5000 on the 10,000 images of MNIST's test set with a 784-512-20 network.

The memory is the largest that the process ever had resident, Python, torch and the images included.

LOWERBOUND_DATA=FOLDER python benchmarks/evidence_memory.py [--images 10000] [--samples 5000]
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch
from contenders import lowerbound_model
from timing import RESULTS, machine

from lowerbound.data import load
from lowerbound.evaluate import log_evidence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=5000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = lowerbound_model(784, 512, 20).eval()
    images = load("mnist").x_test[: arguments.images]
    x = torch.from_numpy(images).flatten(1).gt(127).float()
    before, started = largest_mebibytes(), time.process_time()
    found = log_evidence(model, x, num_samples=arguments.samples)
    results = {
        "images": len(x),
        "samples": arguments.samples,
        "mean_nats": round(found.mean, 3),
        "mebibytes_before": before,
        "largest_mebibytes": largest_mebibytes(),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    print(results)
    content = {"protocol": __doc__, "machine": machine(), "results": results}
    (RESULTS / "evidence_memory.json").write_text(json.dumps(content, indent=1) + "\n")


def largest_mebibytes() -> int:
    """What this process had resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
