"""Gaps that depend on what they hide: filled with and without a model of the gaps.

Penguins, and a generated table of eight linear columns with two factors, lose entries of half of their numeric columns:

    MNAR    with probability Φ(a + 1.5 t) in the value t, in standard deviations, of the entry itself; a so that 30 %
            are lost
    MCAR    30 % of the same columns, whatever they hold

A small autoencoder is fitted to the table with its gaps, once as it is and once with `missingness="self-masking"`;
iterated forests stand beside. On the entries that were hidden: root mean square error and
bias (mean error) in standard deviations of the column, and how many of the true numbers lie in the interval of 90 %.
Means over masks, each with a seed of its own, with the standard error of the paired difference of errors to the
autoencoder without the model of gaps.

python benchmarks/missingness.py [--masks 3] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from imputation import TABLES
from imputation_alternatives import forests, is_number
from scipy.optimize import brentq
from scipy.stats import norm
from timing import RESULTS, machine

import lowerbound as lb

warnings.filterwarnings("ignore")
SHARE, SLOPE, SAMPLES = 0.3, 1.5, 200
FIT: dict[str, Any] = {"latent_dim": 4, "hidden": [64], "steps": 1000}
CONTENDERS = ("autoencoder", "autoencoder, self-masking", "iterative, forests")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["factors", "penguins"], choices=["factors", "penguins"])
    parser.add_argument("--out", type=Path, default=RESULTS / "missingness.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text())["runs"] if arguments.out.exists() else {}
    for mask in range(arguments.masks):
        for name in arguments.only:
            for mechanism in ("MNAR", "MCAR"):
                whole = _factors(mask) if name == "factors" else TABLES["penguins"]()
                gap = gaps(whole, mechanism, mask)
                for contender in CONTENDERS:
                    runs = saved.setdefault(f"{name}, {mechanism}", {}).setdefault(contender, {})
                    if str(mask) in runs:
                        continue
                    started = time.process_time()
                    runs[str(mask)] = scores(whole, gap, *filled(contender, whole.mask(gap), mask))
                    runs[str(mask)]["cpu_seconds"] = round(time.process_time() - started, 1)
                    print(name, mechanism, mask, contender, runs[str(mask)], flush=True)
                    content = {"protocol": __doc__, "machine": machine(), "means": means_of(saved), "runs": saved}
                    arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def _factors(seed: int) -> pd.DataFrame:
    """1,000 rows of eight columns, x = W z + ε with two factors."""
    g = np.random.default_rng(100 + seed)
    weight = g.normal(size=(2, 8))
    x = g.normal(size=(1000, 2)) @ weight + 0.7 * g.normal(size=(1000, 8))
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(8)])


def gaps(table: pd.DataFrame, mechanism: str, seed: int) -> pd.DataFrame:
    """Which entries are taken away, of every second numeric column."""
    g = np.random.default_rng(seed)
    gap = pd.DataFrame(False, columns=table.columns, index=table.index)
    for name in [name for name in table.columns if is_number(table[name])][::2]:
        t = ((table[name] - table[name].mean()) / table[name].std()).to_numpy(float)
        slope = SLOPE if mechanism == "MNAR" else 0.0
        intercept = brentq(lambda a, t=t, slope=slope: norm.cdf(a + slope * t).mean() - SHARE, -20, 20)
        gap[name] = g.random(len(table)) < norm.cdf(intercept + slope * t)
    return gap


def filled(contender: str, table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, tuple[pd.DataFrame, ...]]:
    """The completed table, and the ends of intervals of 90 % where a contender has them."""
    if contender == "iterative, forests":
        return forests(table, seed)[0], ()
    missingness = "self-masking" if "masking" in contender else None
    fitted = lb.fit(table, "vae", missingness=missingness, hold_out=False, seed=seed, **FIT)
    ends = tuple(fitted.impute(table, statistic=level, num_samples=SAMPLES) for level in (0.05, 0.95))
    return fitted.impute(table, num_samples=SAMPLES), ends


def scores(
    whole: pd.DataFrame, gap: pd.DataFrame, table: pd.DataFrame, interval: tuple[pd.DataFrame, ...]
) -> dict[str, Any]:
    """Error, bias and coverage on the entries that were taken away."""
    errors, inside = [], []
    for name in whole.columns[gap.any().to_numpy()]:
        at, truth = gap[name].to_numpy(), whole[name].to_numpy(float)
        errors.append(((table[name].to_numpy(float) - truth) / truth.std())[at])
        if interval:
            low, high = (part[name].to_numpy(float) for part in interval)
            inside.append(((low <= truth) & (truth <= high))[at])
    each = np.concatenate(errors)
    return {
        "rmse": round(float(np.sqrt(np.mean(each**2))), 4),
        "bias": round(float(each.mean()), 4),
        "covered": round(float(np.concatenate(inside).mean()), 4) if inside else None,
    }


def means_of(runs: dict[str, Any]) -> dict[str, Any]:
    """Means over masks, and the paired difference of errors to the autoencoder that ignores how gaps came about."""
    means: dict[str, Any] = {}
    for key, contenders in runs.items():
        base = contenders.get("autoencoder", {})
        for contender, of_masks in contenders.items():
            values = {
                measure: round(float(np.mean([run[measure] for run in of_masks.values()])), 4)
                for measure in ("rmse", "bias", "covered")
                if all(run[measure] is not None for run in of_masks.values())
            }
            paired = np.array([run["rmse"] - base[mask]["rmse"] for mask, run in of_masks.items() if mask in base])
            if len(paired) > 1:
                values["rmse_minus_autoencoder"] = round(float(paired.mean()), 4)
                values["standard_error"] = round(float(paired.std(ddof=1) / len(paired) ** 0.5), 4)
            means.setdefault(key, {})[contender] = values
    return means


if __name__ == "__main__":
    main()
