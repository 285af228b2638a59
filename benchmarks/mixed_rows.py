"""The mixed tables of `defaults.py`: columns of several kinds, gaps, categories alone, ordered answers.

A fifth of the rows is held out, as `lb.fit` does. Generated tables are written for this comparison; none was chosen by
how any model does on it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from lowerbound.data.download import needed

__all__ = ["MIXED"]


def _csv(name: str, num_rows: int | None = None) -> pd.DataFrame:
    with gzip.open(needed(f"{name}.csv.gz"), "rt") as file:
        frame = pd.read_csv(file)
    return frame if num_rows is None else frame.sample(num_rows, random_state=0).reset_index(drop=True)


def _passengers(num_rows: int) -> pd.DataFrame:
    """In the manner of the passengers of the Titanic: classes, sexes, ages with gaps, skewed fares, small counts."""
    g = np.random.default_rng(20)
    rank = g.choice(3, num_rows, p=[0.25, 0.2, 0.55])
    male = g.random(num_rows) < 0.65
    family = g.random(num_rows) < np.array([0.5, 0.4, 0.3])[rank]
    siblings = g.poisson(np.where(family, 0.9, 0.05))
    parents = g.poisson(np.where(family, 0.8, 0.05))
    child = family & (g.random(num_rows) < 0.25)
    age = np.where(child, g.uniform(0.5, 15, num_rows), g.gamma(9, np.array([4.3, 3.4, 3.0])[rank]))
    fare = np.exp(np.array([4.0, 2.8, 2.2])[rank] + 0.3 * np.log1p(siblings + parents) + 0.5 * g.normal(size=num_rows))
    odds = np.array([0.8, 0.0, -0.9])[rank] - 2.5 * male + 1.0 * child + 1.2
    survived = g.random(num_rows) < 1 / (1 + np.exp(-odds))
    port = np.where(g.random(num_rows) < 0.1 + 0.1 * (rank == 0), "C", np.where(g.random(num_rows) < 0.1, "Q", "S"))
    deck = np.where(rank == 0, g.choice(list("ABCD"), num_rows), g.choice(list("EFG"), num_rows)).astype(object)
    age[g.random(num_rows) < 0.2] = np.nan
    deck[g.random(num_rows) < np.array([0.2, 0.8, 0.95])[rank]] = None
    return pd.DataFrame(
        {
            "survived": survived,
            "rank": np.array(["first", "second", "third"])[rank],
            "sex": np.where(male, "male", "female"),
            "age": age.round(1),
            "siblings": siblings,
            "parents": parents,
            "fare": fare.round(4),
            "port": port,
            "deck": deck,
        }
    )


def _categories(num_rows: int) -> pd.DataFrame:
    """Eight columns of 2 to 6 categories, a tree of dependences: each column is drawn given the one before."""
    g = np.random.default_rng(21)
    sizes = (3, 4, 2, 6, 3, 5, 4, 2)
    columns = [g.integers(sizes[0], size=num_rows)]
    for before, size in pairwise(sizes):
        table = g.dirichlet(np.full(size, 0.5), size=before)
        columns.append((g.random(num_rows)[:, None] > table[columns[-1]].cumsum(1)[:, :-1]).sum(1))
    return pd.DataFrame({f"c{i}": np.array(list("abcdef"))[c] for i, c in enumerate(columns)})


def _answers(num_rows: int) -> pd.DataFrame:
    """Ten questions with five ordered answers, of two correlated traits (a graded response model), 5 % unanswered."""
    g = np.random.default_rng(22)
    traits = g.normal(size=(num_rows, 2)) @ np.array([[1.0, 0.4], [0.0, 0.9]])
    weight = np.zeros((2, 10))
    weight[0, :6], weight[1, 4:] = g.uniform(0.8, 2.0, 6), g.uniform(0.8, 2.0, 6)
    cuts = np.sort(g.normal(0, 1.5, size=(10, 4)), 1)
    raw = traits @ weight + g.logistic(size=(num_rows, 10))
    codes = (raw[:, :, None] > cuts).sum(-1)
    codes[g.random(codes.shape) < 0.05] = -1
    words = ["never", "seldom", "sometimes", "often", "always"]
    return pd.DataFrame({f"q{i}": pd.Categorical.from_codes(codes[:, i], words, ordered=True) for i in range(10)})


def _clinic(num_rows: int) -> pd.DataFrame:
    """Three groups of patients: reals, a skewed one, counts, categories; a fifth of all entries missing at random."""
    g = np.random.default_rng(23)
    k = g.choice(3, num_rows, p=[0.5, 0.3, 0.2])
    z = g.normal(size=num_rows)
    frame = pd.DataFrame(
        {
            "age": np.array([35.0, 60, 70])[k] + 10 * g.normal(size=num_rows),
            "pressure": np.array([120.0, 135, 150])[k] + 10 * z + 6 * g.normal(size=num_rows),
            "weight": np.array([70.0, 85, 75])[k] + 9 * z + 7 * g.normal(size=num_rows),
            "marker": np.exp(np.array([0.0, 0.5, 1.8])[k] + 0.8 * g.normal(size=num_rows)),
            "visits": g.poisson(np.array([1.0, 3, 9])[k] * g.gamma(2, 0.5, num_rows)),
            "smoker": np.where(g.random(num_rows) < np.array([0.2, 0.3, 0.6])[k], "yes", "no"),
            "ward": np.where(g.random(num_rows) < 0.7, np.array(list("NES"))[k], g.choice(list("NESW"), num_rows)),
        }
    )
    return frame.mask(g.random(frame.shape) < 0.2)


def _with_gaps(name: str, share: float) -> pd.DataFrame:
    """A table of scikit-learn with entries missing at random."""
    import sklearn.datasets

    frame: pd.DataFrame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).data
    return frame.mask(np.random.default_rng(24).random(frame.shape) < share)


def _on_a_grid(num_rows: int) -> pd.DataFrame:
    """The rows of `rows._discrete`, where columns on a grid are ordered categories."""
    g = np.random.default_rng(5)
    z, noise = g.normal(size=(num_rows, 2)), g.normal(size=(num_rows, 6))
    raw = z @ g.normal(size=(2, 6)) + 0.5 * noise
    frame = pd.DataFrame({"d": raw[:, 3], "e": raw[:, 4], "f": np.exp(raw[:, 5])})
    for i, (name, step) in enumerate((("a", 1.0), ("b", 0.1), ("c", 0.5))):
        frame[name] = pd.Categorical((raw[:, i] / step).round(), ordered=True)
    return frame


MIXED: dict[str, Callable[[], pd.DataFrame]] = {
    "penguins whole": lambda: _csv("penguins"),
    "clinic 300": lambda: _clinic(300),
    "passengers 900": lambda: _passengers(900),
    "categories 1000": lambda: _categories(1000),
    "answers 800": lambda: _answers(800),
    "wine, gaps": lambda: _with_gaps("wine", 0.2),
    "breast cancer, gaps": lambda: _with_gaps("breast_cancer", 0.1),
    "diamonds whole": lambda: _csv("diamonds", 5000),
    "grid 2500": lambda: _on_a_grid(2500),
}
"""Functions that make frames, by name; the number is that of all rows."""
