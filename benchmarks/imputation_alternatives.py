"""What a user would have filled a table with: a completed table and the probabilities of the classes of each gap.

A contender is a function of a table with gaps and a seed. It returns the completed table and, for each column of
categories that it can say so of, a frame of probabilities (row, class). `predictive` makes a log score of any of them:
what it fills in is taken as the centre of a distribution whose width is that of the errors it makes on entries that are
hidden from it on purpose.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import t as student

__all__ = ["ALTERNATIVES", "HYPERIMPUTE", "Filled", "hyperimpute", "is_number", "log_scores"]

Filled: TypeAlias = tuple[pd.DataFrame, dict[str, pd.DataFrame]]
Fill: TypeAlias = Callable[[pd.DataFrame, int], Filled]

_FURTHER, _MIXED = 0.2, (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers."""
    return column.dtype.kind in "iuf"


def mean(table: pd.DataFrame, seed: int) -> Filled:
    """The mean and the most frequent category."""
    del seed
    fills = {n: table[n].mean() if is_number(table[n]) else table[n].mode()[0] for n in table.columns}
    return table.fillna(fills), {n: _frequencies(table[n]) for n in table.columns if not is_number(table[n])}


def neighbours(table: pd.DataFrame, seed: int) -> Filled:
    """The 5 nearest neighbours of standardised columns with one-hot categories."""
    from sklearn.impute import KNNImputer

    del seed
    x, back = _encoded(table)
    return back(KNNImputer(n_neighbors=5).fit_transform(x))


def linear(table: pd.DataFrame, seed: int) -> Filled:
    """IterativeImputer with Bayesian ridge regressions, ten passes, and logistic regressions."""
    from sklearn.linear_model import BayesianRidge, LogisticRegression

    return _iterated(table, BayesianRidge(), LogisticRegression(max_iter=1000), 10, seed)


def forests(table: pd.DataFrame, seed: int) -> Filled:
    """IterativeImputer with random forests, as in MissForest, three passes."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    regressor = RandomForestRegressor(n_estimators=30, random_state=seed)
    return _iterated(table, regressor, RandomForestClassifier(100, random_state=seed), 3, seed)


def hyperimpute(python: Path | None, chosen: dict[str, Any]) -> Fill:
    """The plugin of the same name of hyperimpute, in an environment of its own, and what is set of it.

    Numbers are standardised, without which its logistic regressions take minutes of a core for each column.
    0.1.17 needs older libraries than the rest: pandas 3 refuses its assignments, scikit-learn 1.9 one of its arguments.

        python -m venv hyper
        hyper/bin/python -m pip install hyperimpute==0.1.17 pandas==2.2.3 scikit-learn==1.5.2
        python benchmarks/imputation.py --contenders hyperimpute --hyperimpute hyper/bin/python
    """

    def fill(table: pd.DataFrame, seed: int) -> Filled:
        assert python is not None
        with tempfile.TemporaryDirectory() as folder:
            table.to_csv(Path(folder) / "gaps.csv", index=False)
            said = json.dumps({**chosen, "random_state": seed})
            subprocess.run([str(python.absolute()), "-c", _HYPERIMPUTE, said], check=True, cwd=folder)
            found = pd.read_csv(Path(folder) / "filled.csv")
        return table.combine_first(found)[table.columns], {}

    return fill


_HYPERIMPUTE = """
import json, sys, pandas as pd
from hyperimpute import logger
from hyperimpute.plugins.imputers import Imputers
logger.add(sink=sys.stderr, level="INFO")
table = pd.read_csv("gaps.csv")
codes, names = table.copy(), {}
for name in table.columns:
    if table[name].dtype.kind in "iuf":
        codes[name] = (table[name] - table[name].mean()) / table[name].std()
    else:
        codes[name], names[name] = pd.factorize(table[name])
        codes[name] = codes[name].where(table[name].notna())
filled = Imputers().get("hyperimpute", **json.loads(sys.argv[1])).fit_transform(codes)
filled.columns = table.columns
for name in table.columns:
    if name in names:
        filled[name] = [names[name][int(i)] for i in filled[name].round().clip(0, len(names[name]) - 1)]
    else:
        filled[name] = filled[name] * table[name].std() + table[name].mean()
filled.to_csv("filled.csv", index=False)
"""

# Its defaults; and one that takes its models of the columns once: forests or regressions, every category a class.
HYPERIMPUTE: dict[str, dict[str, Any]] = {
    "hyperimpute": {},
    "hyperimpute, light": {
        "classifier_seed": ["logistic_regression", "random_forest"],
        "regression_seed": ["linear_regression", "random_forest_regressor"],
        "class_threshold": 10,
        "n_inner_iter": 10,
        "select_model_by_iteration": False,
    },
}

ALTERNATIVES: dict[str, Fill] = {
    "mean": mean,
    "nearest neighbours": neighbours,
    "iterative, linear": linear,
    "iterative, forests": forests,
}


def log_scores(whole: pd.DataFrame, gap: pd.DataFrame, fill: Fill, filled: Filled, seed: int) -> dict[str, np.ndarray]:
    """log p of each hidden entry: by column, in nats; numbers in standard deviations of their column.

    A fifth of the entries that are seen are hidden too and filled. A number is t-distributed about its fill, with the
    freedom and scale that are likeliest for the errors there (no narrower than half a step of a column on a grid); a
    class has its probability, or 1 if it is what was filled in, mixed with the frequencies by the likeliest weight.
    """
    seen = whole.mask(gap)
    further = pd.DataFrame(np.random.default_rng(1000 + seed).random(whole.shape) < _FURTHER, columns=whole.columns)
    further &= ~gap
    tried = fill(seen.mask(further), seed)
    found = {}
    for name in whole.columns:
        at, known = gap[name].to_numpy(), further[name].to_numpy()
        if not at.any():
            continue
        if is_number(whole[name]):
            found[name] = _of_numbers(whole[name], tried[0][name], known, filled[0][name], at)
        else:
            frequencies = _frequencies(seen[name])
            held = [_of_class(frequencies, tried, name)[known], _of_class(frequencies, filled, name)[at]]
            truths = [_places(whole[name], frequencies)[part] for part in (known, at)]
            found[name] = _of_classes(held, truths, frequencies.to_numpy()[0])
    return found


def _of_numbers(truth: pd.Series, tried: pd.Series, known: np.ndarray, filled: pd.Series, at: np.ndarray) -> np.ndarray:
    y, scale = truth.to_numpy(float), float(truth.std())
    errors = (y - tried.to_numpy(float))[known] / scale
    freedom, centre, width = student.fit(errors, floc=0.0)
    values = np.unique(y)
    floor = 0.5 * float(np.diff(values).min()) / scale if len(values) < len(y) else 0.0
    width = max(width, floor, 1e-6)
    return student.logpdf((y - filled.to_numpy(float))[at] / scale, freedom, centre, width)


def _of_classes(held: list[np.ndarray], truths: list[np.ndarray], frequencies: np.ndarray) -> np.ndarray:
    def scored(weight: float, part: int) -> np.ndarray:
        p = (1 - weight) * held[part] + weight * frequencies
        return np.log(p[np.arange(len(p)), truths[part]])

    return scored(max(_MIXED, key=lambda weight: float(scored(weight, 0).sum())), 1)


def _of_class(frequencies: pd.DataFrame, filled: Filled, name: str) -> np.ndarray:
    """Probabilities (row, class) of a contender; certain where it says nothing but a class."""
    table, said = filled
    if name in said:
        p = said[name].reindex(columns=frequencies.columns, fill_value=0.0).to_numpy(float)
        return np.broadcast_to(p, (len(table), p.shape[1]))
    return np.eye(frequencies.shape[1])[_places(table[name], frequencies)]


def _places(column: pd.Series, frequencies: pd.DataFrame) -> np.ndarray:
    return frequencies.columns.get_indexer(pd.Index(column.astype(str)))


def _frequencies(column: pd.Series) -> pd.DataFrame:
    """One row: how often each class is, each with a half more."""
    counts = column.dropna().astype(str).value_counts().sort_index() + 0.5
    return (counts / counts.sum()).to_frame().T.reset_index(drop=True)


def _iterated(table: pd.DataFrame, regressor: Any, classifier: Any, passes: int, seed: int) -> Filled:
    """IterativeImputer; then each categorical column from all others, because its own one-hot columns have gaps too."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    x, back = _encoded(table)
    filled, _ = back(IterativeImputer(regressor, random_state=seed, max_iter=passes).fit_transform(x))
    complete, _ = _encoded(filled)
    said = {}
    for name in table.columns:
        if not is_number(table[name]) and table[name].isna().any():
            others = complete[[c for c in complete.columns if not str(c).startswith(f"{name}=")]]
            known = table[name].notna()
            classifier.fit(others[known], table[name][known].astype(str))
            filled.loc[~known, name] = classifier.predict(others[~known])
            said[name] = pd.DataFrame(classifier.predict_proba(others), columns=classifier.classes_)
    return filled, said


def _encoded(table: pd.DataFrame) -> tuple[pd.DataFrame, Callable[[np.ndarray], Filled]]:
    """Standardised numbers and one-hot categories, NaN in gaps, and the way back."""
    parts: dict[str, pd.Series] = {}
    for name in table.columns:
        if is_number(table[name]):
            parts[name] = (table[name] - table[name].mean()) / table[name].std()
        else:
            for value in sorted(table[name].dropna().astype(str).unique()):
                parts[f"{name}={value}"] = (table[name].astype(str) == value).astype(float).mask(table[name].isna())
    x = pd.DataFrame(parts)

    def back(values: np.ndarray) -> Filled:
        found, result = pd.DataFrame(values, columns=x.columns, index=table.index), table.copy()
        said = {}
        for name in table.columns:
            if is_number(table[name]):
                result[name] = table[name].fillna(found[name] * table[name].std() + table[name].mean())
            else:
                own = [column for column in x.columns if str(column).startswith(f"{name}=")]
                classes = found[own].rename(columns=lambda c, name=name: str(c).removeprefix(f"{name}="))
                result[name] = table[name].astype(object).fillna(classes.idxmax(axis=1))
                positive = classes.clip(lower=0)
                said[name] = positive.div(positive.sum(axis=1).clip(lower=1e-9), axis=0)
        return result, said

    return x, back
