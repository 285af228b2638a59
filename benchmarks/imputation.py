"""Gaps filled by the default against what a user would have tried first, on penguins, diamonds and bundled tables.

A table whose entries are known loses 30 % of them, completely at random (MCAR), or at random given a column that keeps
its entries (MAR: the gaps are twice as frequent above the median of that column as below). Every contender sees the
table with its gaps, all of it, and fills them. On the entries that were hidden:

    rmse       root mean square error of numbers, in standard deviations of their column
    accuracy   fraction of categories that are right
    log_score  mean log p(entry | what is seen of its row), nats an entry, numbers in standard deviations of their
               column; of the alternatives as `imputation_alternatives.log_scores` says
    covered    how many of the true numbers lie in the interval of 90 % (of ours)

Means over masks and seeds of what is random in a contender (ours and the forests), with the standard error over masks
of the paired difference to the default. Forests have one seed a mask on diamonds, for time. hyperimpute has one seed
and an environment of its own: `imputation_alternatives.hyperimpute` says how to make it, and `HYPERIMPUTE` what is set.

python benchmarks/imputation.py [--masks 3] [--seeds 5] [--only NAME …] [--contenders NAME …] [--hyperimpute PYTHON]
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from imputation_alternatives import ALTERNATIVES, HYPERIMPUTE, hyperimpute, is_number, log_scores
from mixed_rows import MIXED
from timing import RESULTS, machine

import lowerbound as lb

warnings.filterwarnings("ignore")
SHARE, MEASURES = 0.3, ("rmse", "accuracy", "log_score", "covered")


def _bundled(name: str) -> pd.DataFrame:
    import sklearn.datasets

    return getattr(sklearn.datasets, f"load_{name}")(as_frame=True).data


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "penguins": lambda: MIXED["penguins whole"]().dropna().reset_index(drop=True),
    "diamonds 2000": lambda: MIXED["diamonds whole"]().iloc[:2000].reset_index(drop=True),
    "wine": lambda: _bundled("wine"),
    "breast cancer": lambda: _bundled("breast_cancer"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["penguins", "diamonds 2000"], choices=list(TABLES))
    known = ["lowerbound", *ALTERNATIVES]
    parser.add_argument("--contenders", nargs="+", default=known, choices=[*known, *HYPERIMPUTE])
    parser.add_argument("--hyperimpute", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "imputation.json")
    arguments = parser.parse_args()
    if arguments.hyperimpute is None and set(arguments.contenders) & set(HYPERIMPUTE):
        parser.error("hyperimpute takes part where --hyperimpute names the Python of an environment that has it")
    torch.set_num_threads(1)
    fills = ALTERNATIVES | {each: hyperimpute(arguments.hyperimpute, chosen) for each, chosen in HYPERIMPUTE.items()}
    for name in arguments.only:
        for mechanism in ("MCAR", "MAR"):
            for mask in range(arguments.masks):
                whole = TABLES[name]()
                gap = gaps(whole, mechanism, mask)
                for contender in arguments.contenders:
                    fill = fills.get(contender)
                    for seed in range(_seeds(contender, name, arguments.seeds)):
                        _run(arguments.out, (name, mechanism, mask), contender, seed, whole, gap, fill)


def _seeds(contender: str, table: str, seeds: int) -> int:
    """How often a contender is run on a mask."""
    is_random = contender == "lowerbound" or (contender == "iterative, forests" and table == "penguins")
    return seeds if is_random else 1


def _run(
    path: Path, key: tuple[str, str, int], contender: str, seed: int, whole: pd.DataFrame, gap: pd.DataFrame, fill: Any
) -> None:
    """One contender on one mask, unless it is saved."""
    saved = json.loads(path.read_text())["runs"] if path.exists() else {}
    run = saved.setdefault(", ".join(map(str, key)), {}).setdefault(contender, {})
    if str(seed) in run:
        return
    started = cpu_seconds(), time.perf_counter()
    if fill is None:
        found = ours(whole, gap, seed)
    else:
        filled = fill(whole.mask(gap), seed)
        found = score(whole, gap, filled[0], log_scores(whole, gap, fill, filled, seed))
    spent = cpu_seconds() - started[0], time.perf_counter() - started[1]
    run[str(seed)] = {**found, "cpu_seconds": round(spent[0], 1), "seconds": round(spent[1], 1)}
    print(*key, contender, seed, run[str(seed)], flush=True)
    content = {"protocol": __doc__, "machine": machine(), "means": means_of(saved), "runs": saved}
    path.write_text(json.dumps(content, indent=1) + "\n")


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    return sum(os.times()[:4])


def means_of(runs: dict[str, Any]) -> dict[str, Any]:
    """Means over masks and seeds, and the mean paired difference to the default with its standard error over masks."""
    each: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for key, run in runs.items():
        of_mask = {
            (contender, measure): float(np.mean([values[measure] for values in seeds.values()]))
            for contender, seeds in run.items()
            for measure in MEASURES
            if seeds and all(values.get(measure) is not None for values in seeds.values())
        }
        for (contender, measure), value in of_mask.items():
            other = of_mask.get(("lowerbound", measure), np.nan)
            each.setdefault((key.rsplit(", ", 1)[0], contender, measure), []).append((value, value - other))
    means: dict[str, Any] = {}
    for (table, contender, measure), pairs in each.items():
        value, difference = np.array(pairs).T
        error = float(difference.std(ddof=1) / len(difference) ** 0.5) if len(difference) > 1 else np.nan
        means.setdefault(table, {}).setdefault(contender, {})[measure] = {
            "mean": round(float(value.mean()), 4),
            "minus_lowerbound": None if np.isnan(difference).any() else round(float(difference.mean()), 4),
            "standard_error": None if np.isnan(error) else round(error, 4),
        }
    return means


def gaps(table: pd.DataFrame, mechanism: str, seed: int) -> pd.DataFrame:
    """Which entries are taken away; a row keeps at least one."""
    g = np.random.default_rng(seed)
    share = np.full(table.shape, SHARE)
    if mechanism == "MAR":
        numbers = [i for i, name in enumerate(table.columns) if table[name].dtype.kind in "biuf"]
        cause = numbers[seed % len(numbers)]
        above = (table.iloc[:, cause] > table.iloc[:, cause].median()).to_numpy()
        share = np.where(above[:, None], 4 / 3, 2 / 3) * share
        share[:, cause] = 0
    gap = g.random(table.shape) < share
    gap[gap.all(1), g.integers(table.shape[1])] = False
    return pd.DataFrame(gap, columns=table.columns, index=table.index)


def score(
    whole: pd.DataFrame, gap: pd.DataFrame, table: pd.DataFrame, log_p: dict[str, np.ndarray], interval: Any = None
) -> dict[str, Any]:
    """RMSE of the numbers, accuracy of the categories and log score of the entries that were taken away."""
    errors, hits, inside = [], [], []
    for name in whole.columns:
        at = gap[name].to_numpy()
        if is_number(whole[name]):
            truth = whole[name].to_numpy(float)
            errors.append(((table[name].to_numpy(float) - truth) / truth.std())[at])
            if interval is not None:
                low, high = (part[name].to_numpy(float) for part in interval)
                inside.append(((low <= truth) & (truth <= high))[at])
        else:
            hits.append((table[name].astype(str) == whole[name].astype(str)).to_numpy()[at])
    return {
        "rmse": round(float(np.sqrt(np.mean(np.concatenate(errors) ** 2))), 4),
        "accuracy": round(float(np.mean(np.concatenate(hits))), 4) if hits else None,
        "log_score": round(float(np.mean(np.concatenate(list(log_p.values())))), 4),
        "log_score_of_columns": {name: round(float(values.mean()), 3) for name, values in log_p.items()},
        "covered": round(float(np.mean(np.concatenate(inside))), 4) if inside else None,
    }


def ours(whole: pd.DataFrame, gap: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Nothing said but the table and a seed."""
    table = whole.mask(gap)
    fitted = lb.fit(table, hold_out=False, seed=seed)
    interval = tuple(fitted.impute(table, statistic=level) for level in (0.05, 0.95))
    return score(whole, gap, fitted.impute(table), log_p_of_cells(fitted, whole, gap), interval)


def log_p_of_cells(fitted: Any, whole: pd.DataFrame, gap: pd.DataFrame) -> dict[str, np.ndarray]:
    """log p(x_j | x_seen) = log p(x_j, x_seen) − log p(x_seen) of each hidden entry; exact under latent classes."""
    found, seen = {}, whole.mask(gap)
    log_seen = fitted.score(seen)
    for name in whole.columns:
        rows = gap[name].to_numpy()
        if not rows.any():
            continue
        with_it = seen[rows].assign(**{name: whole[name][rows]})
        scale = float(whole[name].std()) if is_number(whole[name]) else 1.0
        found[name] = fitted.score(with_it) - log_seen[rows] + np.log(scale)
    return found


if __name__ == "__main__":
    main()
