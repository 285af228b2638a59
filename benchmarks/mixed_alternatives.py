"""What a user of a mixed table would have tried first: log p(x) (N,) of the observed entries of test rows, in nats.

Densities are in the units of the table, and no Gaussian is narrower than half a step of a column on a grid. Sizes are
chosen on a tenth of the training rows, and what was chosen is fitted to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from sklearn.mixture import GaussianMixture

from lowerbound.data import Dataset
from lowerbound.data.schema import Column
from lowerbound.linear import MixedRows, OtherColumns, Resolution, fit_scaled_mixture

__all__ = ["of_mixed"]

Density = Callable[[np.ndarray], np.ndarray]
_CLASSES = ("categorical", "ordinal", "boolean")
_SIZES = (1, 2, 3, 4, 6, 8, 12, 20)


def of_mixed(dataset: Dataset) -> dict[str, Callable[[], np.ndarray]]:
    """The alternatives, those of fixed families only: the autoencoder stands in `defaults.py`."""
    train, test, columns = dataset.x_train.astype(float), dataset.x_test.astype(float), dataset.schema.columns or ()
    real = sum(column.kind not in (*_CLASSES, "count") for column in columns)
    every = {
        "independent columns": lambda: _independent(train, columns)(test),
        "latent class model": lambda: _mixture(train, columns, [(k, 0) for k in _SIZES])(test),
    }
    if real > 1:
        every["mixture of full covariances"] = lambda: _mixture(train, columns, [(k, None) for k in _SIZES])(test)
    return every


def _independent(train: np.ndarray, columns: Sequence[Column]) -> Density:
    """A Gaussian mixture (of logarithms, for positive columns), a negative binomial or frequencies for each column."""
    each = [_column(x[~np.isnan(x)], column) for x, column in zip(train.T, columns, strict=True)]

    def density(x: np.ndarray) -> np.ndarray:
        total = np.zeros(len(x))
        for values, log_p in zip(x.T, each, strict=True):
            seen = ~np.isnan(values)
            total[seen] += log_p(values[seen])
        return total

    return density


def _column(x: np.ndarray, column: Column) -> Density:
    if column.kind in _CLASSES:
        size = len(column.categories or ())
        p = (np.bincount(x.astype(int), minlength=size) + 1 / size) / (len(x) + 1)
        return lambda y: np.log(p)[y.astype(int)]
    if column.kind == "count":
        mean = max(x.mean(), 0.01)
        found: Any = minimize_scalar(lambda a: -_log_nb(x, mean, np.exp(a)).sum(), bounds=(-6, 8), method="bounded")
        return lambda y: _log_nb(y, mean, np.exp(found.x))
    if column.kind == "positive":
        of_log = _gaussians(np.log(x))
        return lambda y: of_log(np.log(y)) - np.log(y)
    return _gaussians(x)


def _log_nb(x: np.ndarray, m: float, r: float) -> np.ndarray:
    return gammaln(x + r) - gammaln(r) - gammaln(x + 1) + r * np.log(r / (r + m)) + x * np.log(m / (r + m))


def _gaussians(x: np.ndarray) -> Density:
    """1, 3 or 10 Gaussians, in standard units with a floor of a thousandth, or of half a step."""
    mean, scale = x.mean(), x.std() or 1.0
    y = ((x - mean) / scale)[:, None]
    floor = float(Resolution.of(torch.from_numpy(y)).floor(torch.zeros(1, dtype=torch.float64), 1e-3)) ** 2
    held, rest = y[: max(1, len(y) // 10)], y[max(1, len(y) // 10) :]
    fits: list[Any] = [GaussianMixture(k, reg_covar=floor, random_state=0) for k in (1, 3, 10) if k < len(rest)]
    best = max(fits, key=lambda fit: fit.fit(rest).score(held)).fit(y)
    return lambda z: best.score_samples(((z - mean) / scale)[:, None]) - np.log(scale)


def _mixture(train: np.ndarray, columns: Sequence[Column], sizes: Sequence[tuple[int, int | None]]) -> Density:
    """One mixture of Gaussian clusters, by EM with gaps integrated out, its number of clusters by held-out rows."""
    order = np.random.default_rng(0).permutation(len(train))
    held, rest = train[order[: len(order) // 10]], train[order[len(order) // 10 :]]
    possible = [size for size in sizes if size[0] * 5 <= len(rest)]
    best = max(possible, key=lambda size: float(_fit(rest, columns, size)(held).mean()))
    return _fit(train, columns, best)


def _fit(train: np.ndarray, columns: Sequence[Column], size: tuple[int, int | None]) -> Density:
    kinds = [column.kind for column in columns]
    positive = np.array([kind == "positive" for kind in kinds])
    real = np.array([kind not in (*_CLASSES, "count") for kind in kinds])
    logs = np.where(positive, np.log(np.where(positive, train, 1.0)), train)[:, real]
    mean, scale = np.nanmean(logs, 0), np.nanstd(logs, 0)

    def rows(x: np.ndarray) -> MixedRows:
        y = np.where(positive, np.log(np.where(positive, x, 1.0)), x)[:, real]
        classes, counts = (x[:, np.isin(kinds, names)] for names in (_CLASSES, ("count",)))
        sizes = tuple(len(c.categories or ()) for c in columns if c.kind in _CLASSES)
        others = OtherColumns(torch.as_tensor(classes), sizes, torch.as_tensor(counts))
        return MixedRows(torch.as_tensor((y - mean) / scale), others)

    num_clusters, rank = size
    data = rows(train)
    fitted = fit_scaled_mixture(
        data.real,
        num_clusters,
        rank,
        others=data.others,
        shrinkage=1.0,
        resolution=Resolution.of(data.real, torch.from_numpy(np.where(positive[real], scale, 0.0))),
        starts=5,
        max_iterations=200,
    )

    def density(x: np.ndarray) -> np.ndarray:
        volume = np.where(np.isnan(x[:, positive]), 0.0, np.log(x[:, positive])).sum(1)
        volume += (~np.isnan(x[:, real]) * np.log(scale)).sum(1)
        new = rows(x)
        return fitted.log_evidence(new.real, new.others).numpy() - volume

    return density
