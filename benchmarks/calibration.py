"""How often `diagnose` calls q of a healthy fit miscalibrated, and how often it misses a q that was spoiled.

Twenty fits to convergence that differ in their seed: by turns of the 8 x 8 digits and of two tables, by turns on the
ELBO and on the importance-weighted bound of 8 samples. Each is examined as it is, and again with its q twice too wide,
twice too narrow, and shifted by one standard deviation. Beside the finding stand the strict p-value, which knows no
allowance, and the coverage of the regions with 80 %.

python benchmarks/calibration.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest
from sklearn.datasets import load_breast_cancer, load_wine
from torch import nn
from torch.distributions import Distribution, Independent, Normal

import lowerbound as lb
from lowerbound.diagnosis import PROBLEMS, Case, case_of
from lowerbound.evaluate import calibration
from lowerbound.model import LatentVariableModel

RESULTS = Path(__file__).parent / "results"
SETTINGS = {"latent_dim": 4, "hidden": [64], "lr": 2e-3, "batch_size": 64, "device": "cpu", "compile": False}
OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"objective": "elbo"},
    {"objective": "iwae", "gradient": "dreg", "num_samples": 8},
)
SPOILED = {"as fitted": (1.0, 0.0), "twice too wide": (2.0, 0.0), "twice too narrow": (0.5, 0.0), "shifted": (1.0, 1.0)}


class Spoiled(nn.Module):
    """A factorised Gaussian q with its scale multiplied and its mean moved, in standard deviations."""

    def __init__(self, posterior: nn.Module, scale: float, shift: float):
        super().__init__()
        self.posterior, self.scale, self.shift = posterior, scale, shift

    def forward(self, context: torch.Tensor) -> Distribution:
        q = self.posterior(context)
        return Independent(Normal(q.mean + self.shift * q.stddev, self.scale * q.stddev), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS / "calibration.json")
    given = parser.parse_args()
    fits: list[dict[str, Any]] = []
    for seed in range(given.fits):
        fits.append(one_fit(seed, given.steps))
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"steps": given.steps, "rates": rates(fits), "fits": fits}, indent=2) + "\n")
        print(f"{seed + 1} of {given.fits}: {fits[-1]['data']}, {fits[-1]['objective']}", flush=True)
    for name, found in rates(fits).items():
        print(f"{name:17} present in {found['present']:2} of {found['fits']}, 95 % interval {found['interval']}")


def one_fit(seed: int, steps: int) -> dict[str, Any]:
    """Fit with a seed; examine q as it is and spoiled."""
    begun = time.process_time()
    tables = {"wine": load_wine, "breast cancer": load_breast_cancer}
    name = ("digits", "wine", "digits", "breast cancer")[seed // 2 % 4]
    data = "digits" if name == "digits" else tables[name](as_frame=True).data
    fitted = lb.fit(data, "vae", steps=steps, seed=seed, **SETTINGS, **OBJECTIVES[seed % 2])
    seconds, case = time.process_time() - begun, case_of(fitted, seed=seed)
    return {
        "seed": seed,
        "data": name,
        "objective": OBJECTIVES[seed % 2]["objective"],
        "cpu_seconds": {"fit": seconds, "examine": time.process_time() - begun - seconds},
        "found": {how: examined(case, *spoiling) for how, spoiling in SPOILED.items()},
    }


def examined(case: Case, scale: float, shift: float) -> dict[str, Any]:
    """The finding, the strict p-value and the coverage of regions with 80 %."""
    model = case.model
    spoiled = LatentVariableModel(
        prior=model.prior, likelihood=model.likelihood, posterior=Spoiled(model.posterior, scale, shift)
    ).eval()
    rows = Case(model=spoiled, x_train=case.x_train, x_held_out=case.x_held_out, seed=case.seed)
    finding, known = PROBLEMS["miscalibration of q"](rows), calibration(spoiled, num_rows=1000, seed=case.seed)
    assert finding.evidence is not None
    return {
        "present": finding.present,
        "value": finding.evidence.value,
        "standard_error": finding.evidence.standard_error,
        "p_value": known.p_value,
        "coverage_80": float(known.coverage((0.8,)).values),
        "differences": dict(zip(known.quantities, known.differences.tolist(), strict=True)),
    }


def rates(fits: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How many fits have the finding, by what was done to q, with the interval of Clopper and Pearson."""
    found = {}
    for how in SPOILED:
        present, count = sum(fit["found"][how]["present"] for fit in fits), len(fits)
        interval = binomtest(present, count).proportion_ci()
        found[how] = {
            "present": present,
            "fits": count,
            "interval": [round(interval.low, 3), round(interval.high, 3)],
            "strict p below 0.05": sum(fit["found"][how]["p_value"] < 0.05 for fit in fits),
        }
    return found


if __name__ == "__main__":
    main()
