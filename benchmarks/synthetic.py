"""Synthetic tables drawn from the default against a Gaussian copula and models in the manner of TVAE and CTGAN.

Half of the rows are fitted to; as many rows are drawn as the other half has, and compared with that half.

    two_sample   accuracy of gradient boosting that tells drawn rows from held-out ones, five folds: 0.5 is best
    columns      mean over columns of the largest difference of distribution functions (numbers) or of half the sum of
                 differences of shares (categories): 0 is best
    pairs        mean over pairs of columns, each cut into at most five classes, of half the sum of differences of the
                 shares of pairs of classes
    downstream   accuracy on held-out rows of gradient boosting fitted to drawn rows, of the column named by TARGETS
    near         share of drawn rows that are nearer to a row of the fit than to a held-out row (standardised columns,
                 one-hot categories): 0.5 for new draws, 1 for copies; "closest" is the median distance to a row of the
                 fit over that of held-out rows to rows of the fit

"rows of the fit" stand beside as what can be reached: they are taken as if they were drawn. Means over seeds of the
split.

python benchmarks/synthetic.py [--seeds 3] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from imputation import TABLES
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from synthetic_alternatives import ALTERNATIVES
from timing import RESULTS, machine

import lowerbound as lb

warnings.filterwarnings("ignore")
TARGETS = {"penguins": "species", "diamonds 2000": "cut"}
EPOCHS = {"penguins": 600, "diamonds 2000": 300}
MEASURES = ("two_sample", "columns", "pairs", "downstream", "near", "closest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--out", type=Path, default=RESULTS / "synthetic.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text())["runs"] if arguments.out.exists() else {}
    contenders: dict[str, Callable[..., pd.DataFrame]] = {
        "lowerbound": _ours,
        "rows of the fit": lambda table, *_: table,
        **ALTERNATIVES,
    }
    for seed in range(arguments.seeds):
        for name in arguments.only:
            whole = TABLES[name]()
            order = np.random.default_rng(seed).permutation(len(whole))
            half = len(whole) // 2
            train, test = (whole.iloc[part].reset_index(drop=True) for part in (order[:half], order[half : 2 * half]))
            for contender, draw in contenders.items():
                runs = saved.setdefault(name, {}).setdefault(contender, {})
                if str(seed) in runs:
                    continue
                started = time.process_time()
                drawn = draw(train, len(test), seed, EPOCHS[name])
                spent = time.process_time() - started
                runs[str(seed)] = {**compare(train, test, drawn, TARGETS[name], seed), "cpu_seconds": round(spent, 1)}
                print(name, contender, seed, runs[str(seed)], flush=True)
                _write(arguments.out, saved)


def _ours(table: pd.DataFrame, count: int, seed: int, epochs: int) -> pd.DataFrame:
    """Nothing said but the table and a seed."""
    del epochs
    return lb.fit(table, hold_out=False, seed=seed).sample(count)


def compare(train: pd.DataFrame, test: pd.DataFrame, drawn: pd.DataFrame, target: str, seed: int) -> dict[str, float]:
    """The measures of the protocol."""
    drawn = drawn[test.columns]
    x = [_encoded(part, train) for part in (train, test, drawn)]
    both, is_drawn = np.concatenate(x[1:]), np.repeat([0, 1], [len(test), len(drawn)])
    folds = cross_val_score(_boosting(seed), both, is_drawn, cv=5)
    others = [i for i, name in enumerate(_names(train)) if name.split("=")[0] != target]
    judge = _boosting(seed).fit(x[2][:, others], drawn[target].astype(str))
    scale = np.concatenate(x[:2]).std(0) + 1e-9
    trees = [cKDTree(part / scale) for part in x[:2]]
    to_train, to_test = (tree.query(x[2] / scale)[0] for tree in trees)
    usual = trees[0].query(x[1] / scale)[0]
    return {
        "two_sample": round(float(folds.mean()), 4),
        "columns": round(float(np.mean([_of_column(test[n], drawn[n]) for n in test.columns])), 4),
        "pairs": round(float(np.mean([_of_pair(test, drawn, pair) for pair in combinations(test.columns, 2)])), 4),
        "downstream": round(float((judge.predict(x[1][:, others]) == test[target].astype(str)).mean()), 4),
        "near": round(float(((to_train < to_test) + 0.5 * (to_train == to_test)).mean()), 4),
        "closest": round(float(np.median(to_train) / np.median(usual)), 4),
    }


def _boosting(seed: int) -> Any:
    return HistGradientBoostingClassifier(max_iter=60, random_state=seed)


def _of_column(one: pd.Series, other: pd.Series) -> float:
    if one.dtype.kind in "iuf":
        return float(ks_2samp(one, other).statistic)
    shares = [column.astype(str).value_counts(normalize=True) for column in (one, other)]
    return 0.5 * float(shares[0].sub(shares[1], fill_value=0).abs().sum())


def _of_pair(one: pd.DataFrame, other: pd.DataFrame, pair: tuple[str, str]) -> float:
    classes = []
    for name in pair:
        if one[name].dtype.kind in "iuf":
            edges = np.unique(np.quantile(one[name], [0.2, 0.4, 0.6, 0.8]))
            classes.append([np.digitize(table[name], edges) for table in (one, other)])
        else:
            classes.append([table[name].astype(str).to_numpy() for table in (one, other)])
    shares = [
        pd.Series(list(zip(*parts, strict=True))).value_counts(normalize=True) for parts in zip(*classes, strict=True)
    ]
    return 0.5 * float(shares[0].sub(shares[1], fill_value=0).abs().sum())


def _names(table: pd.DataFrame) -> list[str]:
    return [
        name if table[name].dtype.kind in "iuf" else f"{name}={value}"
        for name in table.columns
        for value in ([""] if table[name].dtype.kind in "iuf" else sorted(table[name].astype(str).unique()))
    ]


def _encoded(table: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    """Numbers as they are and one-hot categories, by the columns of the rows of the fit."""
    columns = []
    for name in _names(train):
        column, _, value = name.partition("=")
        columns.append(
            table[column].to_numpy(float) if not value else (table[column].astype(str) == value).to_numpy(float)
        )
    return np.stack(columns, 1)


def _write(path: Path, runs: dict[str, Any]) -> None:
    means = {
        table: {
            contender: {m: round(float(np.mean([run[m] for run in seeds.values()])), 4) for m in MEASURES}
            for contender, seeds in contenders.items()
            if seeds
        }
        for table, contenders in runs.items()
    }
    content = {"protocol": __doc__, "machine": machine(), "means": means, "runs": runs}
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
