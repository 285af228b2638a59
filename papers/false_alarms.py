"""How often `lowerbound diagnose` calls a healthy fit ill.

Fits of the 8 x 8 digits, binarized at every visit, that differ in their seed and, by turns, in their objective (the
ELBO, and the importance-weighted bound of 8 samples that `lowerbound fit` takes by default): 64-128-8 and back, to
convergence. Nothing is planted in them, so that every problem found counts as a false alarm, with the interval of
Clopper and Pearson (1934). The other data are the negatives of the test images, which a model that sees anything must
find unlikely. Saved with each rate are the numbers behind it, so that a threshold can be judged: how near to the end
of the healthy range do healthy fits come?

python papers/false_alarms.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from pinned import pinned
from scipy.stats import beta

from lowerbound.data import load
from lowerbound.diagnosis import Finding, diagnose
from lowerbound.fitting.preparing import prepare
from lowerbound.runs import Run

RESULTS = Path(__file__).parent / "results"
MODEL = {"latent_dim": 8, "hidden": [128]}
OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"objective": "elbo"},
    {"objective": "iwae", "gradient": "dreg", "num_samples": 8},
)


def main() -> None:
    """Read the options, fit and examine, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--num-rows", type=int, default=360, help="held-out rows examined")
    parser.add_argument("--out", type=Path, default=RESULTS / "false_alarms.json")
    given = parser.parse_args()
    fits: list[dict[str, Any]] = []
    for seed in range(given.fits):
        fits.append(one_fit(seed, given.steps, given.num_rows))
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"steps": given.steps, "rates": rates(fits), "fits": fits}, indent=2) + "\n")
        print(
            f"{seed + 1} of {given.fits}: {fits[-1]['objective']}, alarms: {fits[-1]['alarms'] or 'none'}", flush=True
        )
    for name, rate in rates(fits).items():
        print(f"{name:34} {rate['alarms']:3} of {rate['fits']:3}, at most {rate['interval'][1]:.2f}")


def one_fit(seed: int, steps: int, num_rows: int) -> dict[str, Any]:
    """Fit with a seed and examine."""
    begun = time.process_time()
    dataset, objective = load("digits"), OBJECTIVES[seed % len(OBJECTIVES)]
    plan = pinned(dataset, MODEL, steps=steps, lr=2e-3, seed=seed, device="cpu", compile=False, **objective)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", plan, {"name": "digits"}, dataset)
        engine = plan.engine()
        *_, last = run.fit(prepare(dataset, plan, engine), engine)
        seconds, model = time.process_time() - begun, run.fitted(dataset=dataset)
        negatives = model.events(1 - dataset.x_test, seed=0)
        diagnosis = diagnose(model, x_against=negatives, against="negatives", num_rows=num_rows, seed=seed)
    return {
        "seed": seed,
        "objective": plan.objective,
        "bound": last.terms["bound"],
        "cpu_seconds": {"fit": seconds, "diagnose": time.process_time() - begun - seconds},
        "alarms": [finding.name for finding in diagnosis.present],
        "findings": {finding.name: plain(finding) for finding in diagnosis.findings},
    }


def plain(finding: Finding) -> dict[str, Any]:
    """The number behind a finding."""
    if finding.evidence is None:
        return {"present": finding.present, "sentence": finding.sentence}
    names = ("value", "standard_error", "low", "high")
    evidence = {name: getattr(finding.evidence, name) for name in names}
    return {"present": finding.present, **{k: v if abs(v) < float("inf") else None for k, v in evidence.items()}}


def rates(fits: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """False alarms of each problem and of all together: their number, rate and 95 % interval."""
    names = list(fits[0]["findings"])
    counts = {name: [fit["findings"][name]["present"] for fit in fits] for name in names}
    examined = {name: [bool(found) for found in kinds if found is not None] for name, kinds in counts.items()}
    examined["all findings"] = [found for kinds in examined.values() for found in kinds]
    examined["fits with any alarm"] = [bool(fit["alarms"]) for fit in fits]
    return {name: rate(sum(found), len(found)) for name, found in examined.items() if found}


def rate(alarms: int, count: int) -> dict[str, Any]:
    """A proportion with the interval of Clopper and Pearson."""
    low = 0.0 if alarms == 0 else float(beta.ppf(0.025, alarms, count - alarms + 1))
    high = 1.0 if alarms == count else float(beta.ppf(0.975, alarms + 1, count - alarms))
    return {"alarms": alarms, "fits": count, "rate": alarms / count, "interval": [low, high]}


if __name__ == "__main__":
    main()
