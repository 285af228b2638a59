"""Gaps filled by the default against what a user would have tried first, on penguins, diamonds and bundled tables.

A table whose entries are known loses 30 % of them, completely at random (MCAR), or at random given a column that keeps
its entries (MAR: the gaps are twice as frequent above the median of that column as below). Every contender sees the
table with its gaps, all of it, and fills them. Numbers are compared by the root mean square error in standard
deviations of their column; categories by accuracy. For ours also: how many of the true numbers lie in the interval of
90 %. Means over seeds of the mask, with the standard error over seeds of the paired difference to the default.

Alternatives: the mean and the most frequent category; the 5 nearest neighbours of standardised columns with one-hot
categories; IterativeImputer of scikit-learn, linear (Bayesian ridge, ten passes) and with forests as in MissForest
(three passes), where categories are classified in one further pass, by logistic regression or by forests.

python benchmarks/imputation.py [--seeds 3] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mixed_rows import MIXED
from timing import RESULTS, machine

import lowerbound as lb

warnings.filterwarnings("ignore")
SHARE = 0.3


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
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--out", type=Path, default=RESULTS / "imputation.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"runs": {}}
    for name in arguments.only:
        for mechanism in ("MCAR", "MAR"):
            for seed in range(arguments.seeds):
                run = saved["runs"].setdefault(f"{name}, {mechanism}, {seed}", {})
                whole = TABLES[name]()
                gap = gaps(whole, mechanism, seed)
                for contender, fill in CONTENDERS.items():
                    if contender in run:
                        continue
                    worked = time.process_time()
                    found = score(whole, gap, fill(whole.mask(gap)))
                    run[contender] = {**found, "cpu_seconds": round(time.process_time() - worked, 1)}
                    print(f"{name:<16}{mechanism:<6}{seed}  {contender:<22}{run[contender]}", flush=True)
                    write(arguments.out, saved["runs"])


def write(path: Path, runs: dict[str, Any]) -> None:
    """Every run, and the means over seeds with paired differences to the default."""
    means: dict[str, Any] = {}
    for key, run in runs.items():
        name = key.rsplit(", ", 1)[0]
        for contender, values in run.items():
            for measure in ("rmse", "accuracy", "covered"):
                if values.get(measure) is not None and "lowerbound" in run:
                    of = means.setdefault(name, {}).setdefault(contender, {}).setdefault(measure, [])
                    of.append((values[measure], values[measure] - (run["lowerbound"].get(measure) or 0.0)))
    for contenders in means.values():
        for measures in contenders.values():
            for measure, pairs in measures.items():
                value, difference = np.array(pairs).T
                error = float(difference.std(ddof=1) / len(difference) ** 0.5) if len(difference) > 1 else None
                measures[measure] = {
                    "mean": round(float(value.mean()), 4),
                    "minus_lowerbound": round(float(difference.mean()), 4),
                    "standard_error": None if error is None else round(error, 4),
                }
    path.write_text(
        json.dumps({"protocol": __doc__, "machine": machine(), "means": means, "runs": runs}, indent=1) + "\n"
    )


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


def score(whole: pd.DataFrame, gap: pd.DataFrame, filled: Any) -> dict[str, Any]:
    """RMSE of the numbers and accuracy of the categories that were taken away."""
    table, interval = filled if isinstance(filled, tuple) else (filled, None)
    errors, hits, inside = [], [], []
    for name in whole.columns:
        at = gap[name].to_numpy()
        if whole[name].dtype.kind in "iuf":
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
        "covered": round(float(np.mean(np.concatenate(inside))), 4) if inside else None,
    }


def ours(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[pd.DataFrame, pd.DataFrame]]:
    """Nothing said but the table."""
    fitted = lb.fit(table, hold_out=False)
    low, high = (fitted.impute(table, statistic=level) for level in (0.05, 0.95))
    return fitted.impute(table), (low, high)


def mean(table: pd.DataFrame) -> pd.DataFrame:
    fills = {n: table[n].mean() if table[n].dtype.kind in "iuf" else table[n].mode()[0] for n in table.columns}
    return table.fillna(fills)


def neighbours(table: pd.DataFrame) -> pd.DataFrame:
    from sklearn.impute import KNNImputer

    x, back = encoded(table)
    return back(KNNImputer(n_neighbors=5).fit_transform(x))


def linear(table: pd.DataFrame) -> pd.DataFrame:
    from sklearn.linear_model import BayesianRidge, LogisticRegression

    return iterated(table, BayesianRidge(), LogisticRegression(max_iter=1000), 10)


def forests(table: pd.DataFrame) -> pd.DataFrame:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    regressor = RandomForestRegressor(n_estimators=30, random_state=0)
    return iterated(table, regressor, RandomForestClassifier(100, random_state=0), 3)


def iterated(table: pd.DataFrame, regressor: Any, classifier: Any, passes: int) -> pd.DataFrame:
    """IterativeImputer; then each categorical column from all others, because its own one-hot columns have gaps too."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    x, back = encoded(table)
    filled = back(IterativeImputer(regressor, random_state=0, max_iter=passes).fit_transform(x))
    complete, _ = encoded(filled)
    for name in table.columns:
        if table[name].dtype.kind not in "iuf" and table[name].isna().any():
            others = complete[[c for c in complete.columns if not str(c).startswith(f"{name}=")]]
            known = table[name].notna()
            classifier.fit(others[known], table[name][known].astype(str))
            filled.loc[~known, name] = classifier.predict(others[~known])
    return filled


def encoded(table: pd.DataFrame) -> tuple[pd.DataFrame, Callable[[np.ndarray], pd.DataFrame]]:
    """Standardised numbers and one-hot categories, NaN in gaps, and the way back."""
    parts: dict[str, pd.Series] = {}
    for name in table.columns:
        if table[name].dtype.kind in "iuf":
            parts[name] = (table[name] - table[name].mean()) / table[name].std()
        else:
            for value in sorted(table[name].dropna().astype(str).unique()):
                parts[f"{name}={value}"] = (table[name].astype(str) == value).astype(float).mask(table[name].isna())
    x = pd.DataFrame(parts)

    def back(values: np.ndarray) -> pd.DataFrame:
        found, result = pd.DataFrame(values, columns=x.columns, index=table.index), table.copy()
        for name in table.columns:
            if table[name].dtype.kind in "iuf":
                result[name] = table[name].fillna(found[name] * table[name].std() + table[name].mean())
            else:
                own = [column for column in x.columns if str(column).startswith(f"{name}=")]
                best = found[own].idxmax(axis=1).str.removeprefix(f"{name}=")
                result[name] = table[name].astype(object).fillna(best)
        return result

    return x, back


CONTENDERS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "lowerbound": ours,
    "mean": mean,
    "nearest neighbours": neighbours,
    "iterative, linear": linear,
    "iterative, forests": forests,
}

if __name__ == "__main__":
    main()
