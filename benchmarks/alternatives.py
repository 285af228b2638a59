"""What a user would have tried first, each fitted to training rows and scored on test rows: log p(x) (N,) in nats.

Tables are standardised on the training rows beforehand, and columns on a grid are scored by their cells (`grids`).
Sizes are chosen on a tenth of the training rows, and what was chosen is fitted to all of them.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import zuko
from grids import cell_log_density, moved, steps_of
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from lowerbound.evaluate import bernoulli_mixture, independent_bernoulli
from lowerbound.linear import fit_factor_analysis, fit_mixture_of_factor_analysers, observed_log_evidence

__all__ = ["best", "of_colour", "of_counts", "of_images", "of_tables"]

Density = Callable[[np.ndarray], np.ndarray]
_FLOOR, _MOST_KERNELS, _FLOW_SECONDS, _MOST_TO_CHOOSE = 1e-3, 2500, 90.0, 10_000


def of_tables(train: np.ndarray, test: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The alternatives for standardised tables."""
    step, points = steps_of(train), train
    train = moved(points, step)

    def scored(make: Callable[[], Density]) -> Callable[[], np.ndarray]:
        return lambda: cell_log_density(make(), test, step)

    rank = [r for r in (1, 2, 3, 5, 8, 12, 20, 40) if r < train.shape[1]]
    sizes = [(k, r) for k in (3, 10) for r in (1, 3) if r < train.shape[1]]
    every: dict[str, Callable[[], np.ndarray]] = {
        "Gaussian": scored(lambda: _gaussian(train, 1)),
        "Gaussian mixture": scored(lambda: best(_gaussian, train, (1, 3, 10, 30))),
        "independent columns": lambda: _columns(points, test, step),
        "factor analysis": scored(lambda: best(_factors, train, rank)),
        "spline flow": scored(lambda: _flow(train)),
    }
    if len(train) * train.shape[1] <= 120_000:
        every["mixture of factor analysers"] = scored(lambda: best(_factor_mixture, train, sizes))
    if len(train) <= _MOST_KERNELS:
        every["kernel density"] = scored(lambda: best(_kernels, train, np.geomspace(0.05, 1.0, 9)))
    return every


def of_counts(train: np.ndarray, test: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The alternatives for counts: independent columns."""
    return {
        "independent Poisson": lambda: _poisson(train)(test),
        "independent negative binomial": lambda: _negative_binomial(train)(test),
        "negative binomial mixture": lambda: best(_negative_binomial_mixture, train, (1, 3, 10))(test),
    }


def of_images(train: torch.Tensor, test: torch.Tensor) -> dict[str, Callable[[], np.ndarray]]:
    """The alternatives for binarized images; train holds intensities."""
    return {
        "independent Bernoulli": lambda: independent_bernoulli(train, test).numpy(),
        "Bernoulli mixture": lambda: bernoulli_mixture(train, test, components=(30, 100)).numpy(),
    }


def of_colour(train: np.ndarray, test: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The alternatives for images of levels 0 … 255, each row one image.

    Densities are of values moved uniformly within their levels, and bound the probability of a level from below.
    """
    shrunk = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)
    return {
        "independent levels": lambda: best(_levels, train, (1.0, 2.0, 4.0, 8.0))(test),
        "Gaussian, shrunk": lambda: _spectral(train, [(a, None) for a in shrunk])(test),
        "probabilistic PCA": lambda: _spectral(train, [(0.0, r) for r in (16, 64, 256, 512, 1024)])(test),
    }


def best(fit: Callable[[np.ndarray, Any], Density], train: np.ndarray, choices: Sequence[Any]) -> Density:
    """The fit of the size that is best on a tenth of the rows, to all of them."""
    order = np.random.default_rng(0).permutation(len(train))
    held, rest = train[order[: max(1, len(order) // 10)]], train[order[max(1, len(order) // 10) :]][:_MOST_TO_CHOOSE]
    scores = {}
    for choice in choices:
        try:
            scores[choice] = float(fit(rest, choice)(held).mean())
        except ValueError:  # more components than rows
            continue
    return fit(train, max(scores, key=lambda choice: scores[choice]))


def _levels(train: np.ndarray, width: float) -> Density:
    """Frequencies of the levels of each number, smoothed over their neighbours, a hundredth spread over all."""
    counts = np.stack([np.bincount(column, minlength=256) for column in train.T.astype(int)])
    near = np.exp(-0.5 * (np.subtract.outer(np.arange(256), np.arange(256)) / width) ** 2)
    smooth = counts @ (near / near.sum(1, keepdims=True))
    log_p = np.log(0.99 * smooth / smooth.sum(1, keepdims=True) + 0.01 / 256)
    return lambda x: log_p[np.arange(len(log_p)), x.astype(int)].sum(1)


def _spectral(train: np.ndarray, choices: Sequence[tuple[float, int | None]]) -> Density:
    """A Gaussian whose covariance is shrunk to a multiple of the identity, or has equal least eigenvalues (Tipping and
    Bishop 1999), chosen on a tenth of the rows.
    """
    order = np.random.default_rng(0).permutation(len(train))
    held, rest = train[order[: len(order) // 10]], train[order[len(order) // 10 :]]
    of_rest = _spectrum(rest)
    chosen = max(choices, key=lambda choice: float(_of_spectrum(*of_rest, *choice)(held).mean()))
    return _of_spectrum(*_spectrum(train), *chosen)


def _spectrum(train: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, and the eigenvalues and eigenvectors of the covariance from the largest."""
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
    return train.mean(0), values[::-1], vectors[:, ::-1]


def _of_spectrum(
    mean: np.ndarray, values: np.ndarray, vectors: np.ndarray, shrinkage: float, rank: int | None
) -> Density:
    """E log p over a uniform move within the level, of variance 1/12, in closed form."""
    values = (1 - shrinkage) * values + shrinkage * values.mean()
    if rank is not None:
        values = np.where(np.arange(len(values)) < rank, values, values[rank:].mean())
    values = values + 1 / 12
    constant = -0.5 * (np.log(2 * np.pi * values) + 1 / (12 * values)).sum()
    return lambda x: constant - 0.5 * (((x - mean) @ vectors) ** 2 / values).sum(1)


def _gaussian(train: np.ndarray, size: int) -> Density:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture: Any = GaussianMixture(size, reg_covar=_FLOOR**2, random_state=0, max_iter=500).fit(train)
    return mixture.score_samples


def _columns(train: np.ndarray, test: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Columns on a grid by frequencies or a mixture, whichever is ahead on a tenth of the rows; others by a mixture."""
    total = np.zeros(len(test))
    for column, new, width in zip(train.T, test.T, step, strict=True):
        fits: list[Callable[[np.ndarray, np.ndarray], np.ndarray]] = [_by_mixture(width)]
        if width:
            fits.append(_by_frequency(width))
        order = np.random.default_rng(0).permutation(len(column))
        held, rest = column[order[: len(order) // 10]], column[order[len(order) // 10 :]]
        best = max(fits, key=lambda fit: float(fit(rest, held).mean()))
        total += best(column, new)
    return total


def _by_mixture(width: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        step = np.array([width])
        density = best(_gaussian, moved(train[:, None], step), (1, 3, 10))
        return cell_log_density(density, test[:, None], step)

    return score


def _by_frequency(width: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Frequencies of the cells; what no row had shares the part of one row."""

    def score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        cells, new = (np.rint((x - train.min()) / width).astype(int) for x in (train, test))
        span = int(cells.max()) + 1
        known = np.bincount(cells, minlength=span)
        number = np.where((new >= 0) & (new < span), known[new.clip(0, span - 1)], 0)
        return np.log((number + 1 / span) / (len(train) + 1) / width)

    return score


def _factors(train: np.ndarray, rank: int) -> Density:
    *_, fit = fit_factor_analysis(torch.from_numpy(train), rank, min_scale=_FLOOR)
    return lambda x: observed_log_evidence(fit.exact, torch.from_numpy(x)).numpy()


def _factor_mixture(train: np.ndarray, size: tuple[int, int]) -> Density:
    *_, fit = fit_mixture_of_factor_analysers(torch.from_numpy(train), *size, min_scale=_FLOOR, max_iterations=100)
    return lambda x: fit.mixture.log_evidence(torch.from_numpy(x)).numpy()


def _kernels(train: np.ndarray, bandwidth: float) -> Density:
    kernels: Any = KernelDensity(bandwidth=float(bandwidth)).fit(train)
    return kernels.score_samples


def _flow(train: np.ndarray) -> Density:
    """A neural spline flow, early stopping on a tenth of the rows."""
    torch.manual_seed(0)
    x = torch.from_numpy(train).float()
    held, rest = x[: max(1, len(x) // 10)], x[max(1, len(x) // 10) :]
    width = max(64, x.shape[1])
    flow = zuko.flows.NSF(x.shape[1], transforms=3, hidden_features=(width, width))
    adam, best, since, state = torch.optim.Adam(flow.parameters(), lr=1e-3), -math.inf, 0, flow.state_dict()
    started, size = time.monotonic(), 64 if len(x) < 2000 else 256
    while since < 20 and time.monotonic() - started < _FLOW_SECONDS:
        for batch in rest[torch.randperm(len(rest))].split(size)[:50]:
            loss = -flow().log_prob(batch).mean()
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            adam.step()
        with torch.no_grad():
            value = float(flow().log_prob(held).mean())
        since = since + 1
        if value > best:
            best, since, state = value, 0, {k: v.clone() for k, v in flow.state_dict().items()}
    flow.load_state_dict(state)

    @torch.no_grad()
    def density(y: np.ndarray) -> np.ndarray:
        return flow().log_prob(torch.from_numpy(y).float()).double().numpy()

    return density


def _poisson(train: np.ndarray) -> Density:
    rate = train.mean(0).clip(1e-2)
    return lambda x: (x * np.log(rate) - rate - gammaln(x + 1)).sum(1)


def _log_nb(x: np.ndarray, mean: np.ndarray, r: np.ndarray) -> np.ndarray:
    return gammaln(x + r) - gammaln(r) - gammaln(x + 1) + r * np.log(r / (r + mean)) + x * np.log(mean / (r + mean))


def _fit_nb(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse dispersion of each column, by maximum likelihood."""
    mean = ((weights[:, None] * x).sum(0) + 1e-2) / (weights.sum() + 1)
    r = [
        math.exp(
            minimize_scalar(
                lambda log_r, c=column, m=m: -float(weights @ _log_nb(c, m, np.exp(log_r))),
                bounds=(-6, 8),
                method="bounded",
            ).x  # type: ignore[attr-defined]
        )
        for column, m in zip(x.T, mean, strict=True)
    ]
    return mean, np.array(r)


def _negative_binomial(train: np.ndarray) -> Density:
    mean, r = _fit_nb(train, np.ones(len(train)))
    return lambda x: _log_nb(x, mean, r).sum(1)


def _negative_binomial_mixture(train: np.ndarray, size: int) -> Density:
    from sklearn.cluster import KMeans

    label = KMeans(size, n_init=1, random_state=0).fit_predict(np.log1p(train))
    share = np.eye(size)[label]
    parts: list[Any] = []
    for _ in range(5):
        weights = share.mean(0) + 1e-9
        parts = [_fit_nb(train, share[:, k] + 1e-6) for k in range(size)]
        joint = np.stack([_log_nb(train, *part).sum(1) for part in parts], 1) + np.log(weights)
        share = np.exp(joint - np.logaddexp.reduce(joint, 1, keepdims=True))
    weights = share.mean(0) + 1e-9
    return lambda x: np.logaddexp.reduce(np.stack([_log_nb(x, *part).sum(1) for part in parts], 1) + np.log(weights), 1)
