"""How often `diagnose` calls an exact q unlike the posterior, and how often it misses a q that was spoiled.

Twenty fits whose q(z | x) is the exact posterior: factor analysis and probabilistic PCA, by turns, of wine, breast
cancer and digits with 2, 4, 8 and 16 latents (wine has 8 at most), each with a seed, and so a training part, of its
own. Each q is compared with chains (Hamiltonian Monte Carlo) on eight test rows as it is, with its scale twice too
wide, and with its mean moved by one standard deviation of each latent, and the finding of `lowerbound diagnose` is
written down.

The finding speaks where the whole 95 % interval of the accuracy lies above what is allowed. Beside it stands the
accuracy itself against one half at the level 0.05, one-sided, which asks whether chains, effective sample sizes and
standard errors are what the finding takes them for: with a q that is exact nothing should be told.

python benchmarks/unlike_posterior.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from calibration_exact import DATA, RECIPES, SPOILED, TABLES, Spoiled
from scipy.stats import binomtest, norm

import lowerbound as lb
from lowerbound.diagnosis import PROBLEMS, Case
from lowerbound.fitted import Fitted
from lowerbound.model import LatentVariableModel

RESULTS = Path(__file__).parent / "results"
LEVEL = 0.05
LATENTS = (2, 4, 8, 16)
MOST_LATENTS = {"wine": 8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS / "unlike_posterior.json")
    given = parser.parse_args()
    fits: list[dict[str, Any]] = []
    for seed in range(given.fits):
        fits.append(one_fit(seed))
        given.out.write_text(json.dumps({"level": LEVEL, "rates": rates(fits), "fits": fits}, indent=1) + "\n")
        print(f"{seed + 1} of {given.fits}: {fits[-1]}", flush=True)
    for how, found in rates(fits).items():
        print(f"{how:18} {found}")


def one_fit(seed: int) -> dict[str, Any]:
    """Fit with a seed; the finding for each q."""
    begun, recipe, name = time.process_time(), RECIPES[seed % 2], DATA[seed // 2 % 3]
    latents = min(LATENTS[seed // 2 % 4], MOST_LATENTS.get(name, 16))
    data = "digits" if name == "digits" else TABLES[name](as_frame=True).data
    fitted = lb.fit(data, recipe, latent_dim=latents, seed=seed, device="cpu")
    told = {how: finding(fitted, *spoiling) for how, spoiling in SPOILED.items()}
    seconds = round(time.process_time() - begun, 1)
    return {"seed": seed, "recipe": recipe, "data": name, "latents": latents, "cpu_seconds": seconds, "q": told}


def finding(fitted: Fitted, scale: float, shift: float) -> dict[str, Any]:
    """What `diagnose` says of q, and the p-value of an accuracy of one half."""
    model = fitted.model
    spoiled = LatentVariableModel(
        prior=model.prior, likelihood=model.likelihood, posterior=Spoiled(model.posterior, scale, shift)
    ).eval()
    x = fitted.events(fitted.test_rows().x)
    made = PROBLEMS["q unlike the posterior"](Case(model=spoiled, x_train=x, x_held_out=x, seed=fitted.seed))
    if made.evidence is None:
        return {"present": made.present, "sentence": made.sentence}
    measured = made.evidence
    return {
        "present": made.present,
        "accuracy": round(measured.value, 4),
        "standard_error": round(measured.standard_error, 4),
        "allowed": round(measured.high, 4),
        "p_value": float(f"{norm.sf((measured.value - 0.5) / measured.standard_error):.3g}"),
        "sentence": made.sentence,
    }


def rates(fits: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How often the finding is present, and how often the accuracy is above one half at the level."""
    found: dict[str, dict[str, Any]] = {}
    for how in SPOILED:
        told = [fit["q"][how] for fit in fits]
        decided = [one for one in told if one["present"] is not None]
        found[how] = {
            "not decided": len(told) - len(decided),
            "finding": rate([one["present"] for one in decided]),
            "accuracy above one half": rate([one["p_value"] <= LEVEL for one in decided]),
        }
    return found


def rate(alarms: list[bool]) -> dict[str, Any]:
    """With the 95 % interval of Clopper and Pearson."""
    if not alarms:
        return {"alarms": 0, "tests": 0}
    interval = binomtest(sum(alarms), len(alarms)).proportion_ci(method="exact")
    return {
        "alarms": sum(alarms),
        "tests": len(alarms),
        "interval": [round(interval.low, 3), round(interval.high, 3)],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
