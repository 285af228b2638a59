"""The data sets of `defaults.py`: numeric tables, counts, series, and images, each split into training and test rows.

Generated tables have a known density, whose entropy bounds what any model can reach. Every split is a permutation from
seed 0, a fifth of the rows (at most 3,000) to test on.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from mixed_rows import MIXED
from series import SERIES

from lowerbound.data import Dataset, load
from lowerbound.data.download import needed
from lowerbound.data.given import dataset_of

__all__ = ["COUNTS", "IMAGES", "TABLES", "dataset_named"]

_MOST_TEST, _SERIES_TEST = 3000, 1000


def dataset_named(name: str) -> Dataset:
    """A data set by its name in `TABLES`, `COUNTS`, `IMAGES`, `mixed_rows.MIXED` or `series.SERIES`."""
    if name in MIXED:
        return replace(dataset_of(MIXED[name]()), name=name)
    if name == "colour":
        return _colour()
    if name in IMAGES:
        return load(name, download=False)
    if name in COUNTS:
        return replace(dataset_of(COUNTS[name]()), name=name)
    if name in SERIES:
        x = np.asarray(SERIES[name](), np.float32)
        return Dataset.from_arrays(
            name=name, kind="array", x_train=x[_SERIES_TEST:], x_test=x[:_SERIES_TEST], source="benchmarks/series.py"
        )
    rows = np.asarray(TABLES[name](), np.float32)
    order = np.random.default_rng(0).permutation(len(rows))
    test = len(rows) - 100 if name in _DRAWS else min(len(rows) // 5, _MOST_TEST)
    return Dataset.from_arrays(
        name=name, kind="table", x_train=rows[order[test:]], x_test=rows[order[:test]], source="benchmarks/rows.py"
    )


def _colour() -> Dataset:
    """4,000 photographs of 32 x 32 and 1,000 to test on, decoded from JPEG: for differences, not for published bits."""
    with np.load(needed("cifar10_jpeg_ood.npz"), allow_pickle=False) as archive:
        return Dataset.from_arrays(
            name="colour",
            kind="image",
            x_train=np.ascontiguousarray(np.moveaxis(archive["x_train"], -1, 1)),
            x_test=np.ascontiguousarray(np.moveaxis(archive["x_test"], -1, 1)),
            source="cifar10_jpeg_ood.npz",
        )


def _bundled(name: str) -> np.ndarray:
    import sklearn.datasets

    bunch: Any = getattr(sklearn.datasets, f"load_{name}")()
    return bunch.data


def _csv(name: str, columns: tuple[str, ...], num_rows: int | None = None) -> np.ndarray:
    """Numeric columns of the complete rows of a table, in an order from seed 0."""
    with gzip.open(needed(f"{name}.csv.gz"), "rt") as file:
        rows = [[row[c] for c in columns] for row in csv.DictReader(file)]
    x = np.array([[float(cell) for cell in row] for row in rows if all(cell not in ("", "NA") for cell in row)])
    return x[np.random.default_rng(0).permutation(len(x))[:num_rows]]


def _diamonds() -> np.ndarray:
    return _csv("diamonds", ("carat", "depth", "table", "price", "x", "y", "z"), 15_000)


def _penguins() -> np.ndarray:
    return _csv("penguins", ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"))


def _linear_gaussian(num_rows: int, num_columns: int, num_factors: int, draw: int = 1) -> np.ndarray:
    g = np.random.default_rng(draw)
    weight = g.normal(size=(num_columns, num_factors))
    scale = g.uniform(0.3, 0.8, num_columns)
    return g.normal(size=(num_rows, num_factors)) @ weight.T + scale * g.normal(size=(num_rows, num_columns))


def _curved(num_rows: int) -> np.ndarray:
    """Five columns: normal, a parabola of it, heavy tails, two modes, skewed."""
    g = np.random.default_rng(2)
    a = g.normal(size=num_rows)
    b = a**2 + 0.3 * g.normal(size=num_rows)
    c = 0.5 * a + g.standard_t(3, num_rows)
    d = np.where(g.random(num_rows) < 0.5, -2, 2) + 0.4 * g.normal(size=num_rows)
    e = np.exp(0.7 * g.normal(size=num_rows) + 0.2 * d)
    return np.stack([a, b, c, d, e], 1)


def _heavy(num_rows: int, num_columns: int) -> np.ndarray:
    """Student t with three degrees of freedom, all columns of a row sharing their scale."""
    g = np.random.default_rng(3)
    root = g.normal(size=(num_columns, num_columns)) / num_columns**0.5
    u = g.chisquare(3, num_rows) / 3
    return (g.normal(size=(num_rows, num_columns)) @ root.T + 0.3 * g.normal(size=(num_rows, num_columns))) / u[
        :, None
    ] ** 0.5


def _modes(num_rows: int, num_columns: int, num_modes: int) -> np.ndarray:
    g = np.random.default_rng(4)
    centres = 4 * g.normal(size=(num_modes, num_columns))
    roots = g.normal(size=(num_modes, num_columns, num_columns)) / num_columns**0.5
    k = g.integers(num_modes, size=num_rows)
    return centres[k] + np.einsum("nij,nj->ni", roots[k], g.normal(size=(num_rows, num_columns)))


def _discrete(num_rows: int) -> np.ndarray:
    """Six columns: whole numbers, one decimal, halves, and three smooth ones."""
    g = np.random.default_rng(5)
    z = g.normal(size=(num_rows, 2))
    noise = g.normal(size=(num_rows, 6))
    raw = z @ g.normal(size=(2, 6)) + 0.5 * noise
    return np.stack(
        [raw[:, 0].round(), raw[:, 1].round(1), (2 * raw[:, 2]).round() / 2, raw[:, 3], raw[:, 4], np.exp(raw[:, 5])], 1
    )


def _jittered() -> np.ndarray:
    """The same with each value on a grid moved uniformly within its step, whose densities bound probabilities."""
    x = _discrete(2500)
    steps = np.array([1.0, 0.1, 0.5, 0.0, 0.0, 0.0])
    return x + steps * np.random.default_rng(11).uniform(-0.5, 0.5, x.shape)


def _rings(num_rows: int) -> np.ndarray:
    """Two columns: three rings."""
    g = np.random.default_rng(6)
    radius = g.integers(1, 4, num_rows) + 0.08 * g.normal(size=num_rows)
    angle = g.uniform(0, 2 * np.pi, num_rows)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _housing(num_rows: int) -> np.ndarray:
    """Eight columns in the manner of the California housing table: places in clusters, skewed sizes, capped values."""
    g = np.random.default_rng(7)
    k = g.integers(6, size=num_rows)
    place = g.normal(size=(6, 2))[k] * 2 + 0.3 * g.normal(size=(num_rows, 2)) * g.uniform(0.3, 1.5, (6, 1))[k]
    income = np.exp(0.4 * g.normal(size=num_rows) + 0.2 * place[:, 0])
    age = np.clip(28 + 12 * g.normal(size=num_rows) - 4 * place[:, 1], 1, 52).round()
    rooms = 5 + 1.2 * np.log(income) + np.exp(0.6 * g.normal(size=num_rows)) * 0.5
    people = np.exp(7 + 0.7 * g.normal(size=num_rows)).round()
    household = 2 + np.exp(0.4 * g.normal(size=num_rows) - 0.2 * np.log(income))
    value = np.minimum(np.exp(0.9 * np.log(income) + 0.3 * g.normal(size=num_rows) + 0.1 * place[:, 1]), 5.0)
    return np.stack([*place.T, income, age, rooms, people, household, value], 1)


def _nonlinear(num_rows: int, num_columns: int) -> np.ndarray:
    """A random net of four factors, plus noise."""
    g = np.random.default_rng(8)
    h = np.tanh(g.normal(size=(num_rows, 4)) @ g.normal(size=(4, 30)))
    return h @ g.normal(size=(30, num_columns)) / 3 + 0.3 * g.normal(size=(num_rows, num_columns))


def _pbmc() -> np.ndarray:
    with np.load(needed("pbmc68k_reduced_counts.npz"), allow_pickle=False) as archive:
        return archive["counts"]


def _newsgroups() -> np.ndarray:
    """3,000 posts by the 100 words that occur most."""
    from scipy.sparse import csr_matrix

    with np.load(needed("newsgroups20_bow2000.npz"), allow_pickle=False) as a:
        counts = csr_matrix((a["train_data"], a["train_indices"], a["train_indptr"]), shape=tuple(a["shape_train"]))
        x = counts[:3000].toarray()
    return x[:, np.argsort(-x.sum(0))[:100]]


def _long_tailed() -> np.ndarray:
    """450 rows of 12 counts with largest values in the thousands, of two factors."""
    g = np.random.default_rng(9)
    z = g.normal(size=(450, 2))
    mean = np.exp(1.5 + z @ g.normal(size=(2, 12)) + g.normal(size=12))
    return g.poisson(mean * g.gamma(0.8, 1 / 0.8, size=mean.shape))


def _integers(num_columns: int) -> np.ndarray:
    """3,000 rows of overdispersed whole numbers of four clusters."""
    g = np.random.default_rng(10)
    k = g.integers(4, size=3000)
    mean = np.exp(g.normal(1.0, 1.0, size=(4, num_columns)))[k]
    return g.poisson(mean * g.gamma(3.0, 1 / 3.0, size=mean.shape))


TABLES: dict[str, Callable[[], np.ndarray]] = {
    "iris": lambda: _bundled("iris"),
    "wine": lambda: _bundled("wine"),
    "penguins": _penguins,
    "diabetes": lambda: _bundled("diabetes"),
    "breast cancer": lambda: _bundled("breast_cancer"),
    "linear 400 x 40": lambda: _linear_gaussian(500, 40, 6),
    "linear 100 x 5": lambda: _linear_gaussian(125, 5, 2),
    "heavy 1000 x 8": lambda: _heavy(1250, 8),
    "curved 3000 x 5": lambda: _curved(3750),
    "discrete 2000 x 6": lambda: _discrete(2500),
    "jittered 2000 x 6": _jittered,
    "rings 2000 x 2": lambda: _rings(2500),
    "modes 2000 x 10": lambda: _modes(2500, 10, 8),
    "nonlinear 2000 x 20": lambda: _nonlinear(2500, 20),
    "nonlinear 1000 x 200": lambda: _nonlinear(1250, 200),
    "diamonds": _diamonds,
    "housing 15000 x 8": lambda: _housing(18_000),
    "curved 100000 x 5": lambda: _curved(103_000),
}
"""Functions that make the rows of numeric tables, by name; N x D counts training rows."""

_DRAWS = {f"linear 100 x 5, draw {draw}": draw for draw in range(100, 112)}
TABLES |= {name: lambda draw=draw: _linear_gaussian(1100, 5, 2, draw) for name, draw in _DRAWS.items()}
"""A hundred rows say little of a method: other tables of the same kind, with a thousand rows to test on."""

COUNTS: dict[str, Callable[[], np.ndarray]] = {
    "long-tailed counts": _long_tailed,
    "integers 33": lambda: _integers(33),
    "pbmc": _pbmc,
    "newsgroups": _newsgroups,
}

IMAGES = ("digits", "mnist", "fashion-mnist", "omniglot", "frey-faces", "colour")
