"""What `make demo` fits, for several seeds: nats above a Bernoulli mixture fitted by EM to the same rows.

The digits of scikit-learn with the defaults of `lowerbound fit digits`. Both are scored on the same 360 test images,
each binarized once by the seed of the fit: the margin is L_1000 of the fit minus log p(x) of the mixture, paired image
by image. Its standard error over images is that of one fit; the one over seeds says how much fits differ. Each seed is
saved as soon as it is there, and what is saved is not computed again.

python benchmarks/demo.py [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from timing import RESULTS, machine

import lowerbound as lb

BASELINE = "bernoulli mixture"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--steps", type=int, default=None, help="of each fit, to try it out [default: those of the demo]"
    )
    parser.add_argument("--samples", type=int, default=1000, help="K of L_K")
    parser.add_argument("--out", type=Path, default=RESULTS / "demo.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    seeds: dict[str, Any] = saved.get("seeds", {})
    for seed in arguments.seeds:
        if str(seed) not in seeds:
            seeds[str(seed)] = one_seed(seed, arguments)
            content = {"protocol": __doc__, "machine": machine(), **summary(seeds), "seeds": seeds}
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(content, indent=2) + "\n")
            print(f"seed {seed}:", {key: seeds[str(seed)][key] for key in ("margin", "standard_error")}, flush=True)
    print(summary(seeds))


def one_seed(seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One fit, its scores and its margin."""
    begun = time.process_time()
    fitted = lb.fit("digits", seed=seed, device="cpu", steps=arguments.steps)
    trained = time.process_time()
    scores = fitted.evaluate(num_samples=arguments.samples)
    against = scores["baselines"][BASELINE]
    assert fitted.plan is not None
    return {
        "margin": against["margin"],
        "standard_error": against["margin_standard_error"],
        "log_evidence": scores["log_evidence"],
        "log_likelihood_of_mixture": against["log_likelihood"],
        "num_data": scores["num_data"],
        "num_samples": scores["num_samples"],
        "plan": fitted.plan.to_json(),
        "cpu_seconds": {"fit": round(trained - begun, 1), "evaluate": round(time.process_time() - trained, 1)},
    }


def summary(seeds: dict[str, Any]) -> dict[str, float | None]:
    """The mean margin over seeds with both of its errors."""
    margins = [seed["margin"] for seed in seeds.values()]
    spread = statistics.stdev(margins) / len(margins) ** 0.5 if len(margins) > 1 else None
    return {
        "margin": statistics.fmean(margins),
        "standard_error_over_images": statistics.fmean(seed["standard_error"] for seed in seeds.values()),
        "standard_error_over_seeds": spread,
    }


if __name__ == "__main__":
    main()
