"""Whether training in bfloat16 on a CPU learns what training in float32 learns: the bound of test rows, in float32.

Each pair has one plan, one seed and one split; only the precision of the products of nets differs. Scored are the first
2,000 test rows (500 of text), in float32. Grey images are binarized once. "same" says whether the mean difference over
the seeds is within the standard error that the bound has over all test rows. Each result is saved as soon as it is
there, and what is saved is not computed again.

python benchmarks/precision.py [--seeds 0 1 2] [--only NAME …]
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import RESULTS, machine

from lowerbound.data import Dataset, load
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_text
from lowerbound.evaluate import log_evidence
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit

_DENSE = {"recipe": "vae", "hidden": [512], "latent_dim": 20, "objective": "elbo"}
_TEXT = "penn-treebank"
_WARM = "beta-elbo:beta=1.0,rate=kl,warmup=100"  # that of the recipe, in as large a part of the steps
_OF_TEXT = {"steps": 300, "batch_size": 32, "lr": 6e-3, "lr_schedule": "cosine"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "MNIST, default": ("mnist", {"recipe": "vae", "steps": 800}),
    "Fashion-MNIST, 784-512-20": ("fashion-mnist", {**_DENSE, "likelihood": "bernoulli", "steps": 1600}),
    "digits, default": ("digits", {"recipe": "vae", "steps": 1000}),
    "MNIST, 784-512-20": ("mnist", {**_DENSE, "steps": 1600}),
    "MNIST, 784-256-20": ("mnist", {**_DENSE, "hidden": [256], "steps": 1600}),
    "digits, 64-512-20": ("digits", {**_DENSE, "steps": 1000}),
    "Penn Treebank, language model": (_TEXT, {"recipe": "language-model", **_OF_TEXT}),
    "Penn Treebank, sentence VAE": (
        _TEXT,
        {"recipe": "sentence-vae", "objective": _WARM, **_OF_TEXT},
    ),
}
ROWS, OF_TEXT, SAMPLES = 2000, 500, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path, default=RESULTS / "precision.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(arguments.out.read_text())["runs"] if arguments.out.exists() else {}
    for seed in arguments.seeds:
        for name in arguments.only:
            for precision in ("fp32", "bf16"):
                key = f"{name}, seed {seed}, {precision}"
                if key not in runs:
                    runs[key] = found = one(*CASES[name], seed, precision)
                    print(key, {k: v for k, v in found.items() if k != "plan"}, flush=True)
                    content = {"protocol": __doc__, "machine": machine(), "compared": compared(runs), "runs": runs}
                    arguments.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(compared(runs), indent=1))


@functools.cache
def loaded(name: str) -> Dataset:
    """A data set of the catalogue, or the training and test sentences of the Penn Treebank with its 10,000 symbols."""
    if name != _TEXT:
        return load(name)
    train, test = (np.asarray(read_text(needed(f"ptb.{part}.txt.gz"), None).x) for part in ("train", "test"))
    return Dataset.from_arrays(name=name, kind="text:vocabulary=9998", x_train=train, x_test=test, source=name)


def num_scored(data: str) -> int:
    """How many test rows."""
    return OF_TEXT if data == _TEXT else ROWS


def one(data: str, given: dict[str, Any], seed: int, precision: str) -> dict[str, Any]:
    """Train, and score the test rows."""
    dataset = loaded(data)
    compiled: dict[str, Any] = {} if data == _TEXT else {"compile": True}
    planned = plan(dataset, **given, seed=seed, device="cpu", precision=precision, **compiled)
    engine = planned.engine()
    training = prepare(dataset, planned, engine)
    begun = time.process_time()
    for _ in fit(training, planned, engine):
        pass
    spent = time.process_time() - begun
    x = torch.as_tensor(dataset.x_test[: num_scored(data)]).float()
    if dataset.x_test.dtype.kind == "u":
        x = x / 255
    if planned.binarization == "dynamic":
        x = torch.bernoulli(x, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(seed)
    with torch.no_grad():
        found = log_evidence(training.loss.model.eval(), x, num_samples=SAMPLES)
    evidence = found.log_evidence.double()
    return {
        "elbo": round(float(found.mean_elbo), 4),
        f"L_{SAMPLES}": round(evidence.mean().item(), 4),
        "standard_error": round(evidence.std().item() / len(evidence) ** 0.5, 4),
        "cpu_seconds": round(spent, 1),
        "plan": planned.to_json(),
    }


def compared(runs: dict[str, Any]) -> dict[str, Any]:
    """bf16 − fp32 of each bound in nats over the seeds that have both, and whether the two are the same."""
    found: dict[str, Any] = {}
    for name in CASES:
        pairs = [
            (runs[key], runs[key.replace("fp32", "bf16")])
            for key in runs
            if key.startswith(f"{name}, seed") and key.endswith("fp32") and key.replace("fp32", "bf16") in runs
        ]
        if not pairs:
            continue
        data = CASES[name][0]
        scored = min(num_scored(data) / len(loaded(data).x_test), 1)
        error = statistics.mean(full["standard_error"] for full, _ in pairs) * scored**0.5
        row: dict[str, Any] = {"seeds": len(pairs), "standard_error": round(error, 3)}
        for bound in ("elbo", f"L_{SAMPLES}"):
            differences = [low[bound] - full[bound] for full, low in pairs]
            row[bound] = {
                "fp32": [full[bound] for full, _ in pairs],
                "bf16": [low[bound] for _, low in pairs],
                "mean_difference": round(statistics.mean(differences), 4),
                "differences": [round(difference, 4) for difference in differences],
                "same": abs(statistics.mean(differences)) <= error,
            }
        found[name] = row
    return found


if __name__ == "__main__":
    main()
