"""Short series for `defaults.py`, and what a user would have tried first on them beside what tables have.

Series (N, T, C) are scored in nats of channels divided by their standard deviation over all training steps. The
alternatives of tables see them as rows of T C numbers; those of their own are an autoregression by least squares and a
hidden Markov model with Gaussian states, sizes chosen on a tenth of the series.
"""

from __future__ import annotations

from collections.abc import Callable

import alternatives
import numpy as np
import torch

from lowerbound.exact import HiddenMarkov, NormalStates, baum_welch
from lowerbound.k_means import k_means

__all__ = ["SERIES", "channel_scale", "of_series"]

Density = Callable[[np.ndarray], np.ndarray]


def _autoregression(num_series: int) -> np.ndarray:
    """Two channels of the second order, from rest."""
    g = np.random.default_rng(20)
    x = np.zeros((num_series, 26, 2))
    for t in range(2, 26):
        x[:, t] = 1.2 * x[:, t - 1] - 0.5 * x[:, t - 2] + 0.5 * g.normal(size=(num_series, 2))
    return x[:, 2:]


def _beats(num_series: int) -> np.ndarray:
    """One channel aligned in time: two shapes, each of its own height and width, and noise that follows itself."""
    g = np.random.default_rng(21)
    t, k = np.linspace(0, 1, 60), g.integers(2, size=num_series)
    height, width = 1 + 0.2 * g.normal(size=num_series), 0.08 * np.exp(0.2 * g.normal(size=num_series))
    first = height[:, None] * np.exp(-0.5 * ((t - 0.4) / width[:, None]) ** 2)
    second = 0.5 * (1 - 2 * k[:, None]) * np.exp(-0.5 * ((t - 0.7) / 0.1) ** 2)
    noise = np.zeros((num_series, 60))
    for i in range(60):
        noise[:, i] = (0.8 * noise[:, i - 1] if i else 0) + 0.05 * g.normal(size=num_series)
    return (first + second + noise)[:, :, None]


def _regimes(num_series: int) -> np.ndarray:
    """Two channels whose level and spread change with a hidden state that lasts about ten steps."""
    g = np.random.default_rng(22)
    level, spread = np.array([[0, 0], [3, -1], [-2, 2]]), np.array([0.3, 1.0, 0.5])
    state = g.integers(3, size=(num_series, 1))
    for _ in range(29):
        moved = g.random((num_series, 1)) < 0.1
        state = np.concatenate([state, np.where(moved, g.integers(3, size=(num_series, 1)), state[:, -1:])], 1)
    return level[state] + spread[state][:, :, None] * g.normal(size=(num_series, 30, 2))


def _walks(num_series: int) -> np.ndarray:
    """One channel: random walks with heavy-tailed steps whose size is that of the series."""
    g = np.random.default_rng(23)
    size = np.exp(0.5 * g.normal(size=(num_series, 1)))
    return (size * g.standard_t(4, (num_series, 40))).cumsum(1)[:, :, None]


def _swings(num_series: int) -> np.ndarray:
    """Three channels of other units: a swing of random period and phase, its slope, and its energy."""
    g = np.random.default_rng(24)
    t = np.arange(20)
    period, phase = g.uniform(6, 14, (num_series, 1)), g.uniform(0, 2 * np.pi, (num_series, 1))
    angle = 2 * np.pi * t / period + phase
    x = np.stack([np.sin(angle), 100 * np.cos(angle) / period, 0.001 * np.cos(2 * angle)], 2)
    return x + np.array([0.1, 1.0, 0.0002]) * g.normal(size=x.shape)


SERIES: dict[str, Callable[[], np.ndarray]] = {
    "series autoregression 500": lambda: _autoregression(1500),
    "series autoregression 40": lambda: _autoregression(1040),
    "series beats 400": lambda: _beats(1400),
    "series regimes 400": lambda: _regimes(1400),
    "series walks 300": lambda: _walks(1300),
    "series swings 500": lambda: _swings(1500),
}
"""Functions that make series; all but a thousand are trained on, as the name says."""


def channel_scale(train: np.ndarray) -> np.ndarray:
    """The standard deviation (C,) of each channel over all series and steps."""
    return train.std((0, 1))


def of_series(train: np.ndarray, test: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The alternatives for series (N, T, C) divided by the scale of their channels."""
    shape, flat = train.shape[1:], (train.reshape(len(train), -1), test.reshape(len(test), -1))

    def of_rows(fit: Callable[[np.ndarray, int], Density]) -> Callable[[np.ndarray, int], Density]:
        def density(rows: np.ndarray, size: int) -> Density:
            found = fit(rows.reshape(-1, *shape), size)
            return lambda new: found(new.reshape(-1, *shape))

        return density

    own = {
        "autoregression": (_least_squares, (0, 1, 2, 3, 5)),
        "hidden Markov model": (_hidden_markov, (1, 2, 3, 5, 8)),
    }
    every = {
        name: lambda fit=fit, sizes=sizes: alternatives.best(of_rows(fit), flat[0], sizes)(flat[1])
        for name, (fit, sizes) in own.items()
    }
    return {**every, **alternatives.of_tables(*flat)}


def _least_squares(train: np.ndarray, order: int) -> Density:
    """A vector autoregression; each of the first steps has coefficients of its own."""
    size = train.shape[2]
    if 4 * order * size > len(train):
        raise ValueError("too few series for regressions of the first steps")

    def design(x: np.ndarray, t: int) -> np.ndarray:
        lags = [x[:, t - 1 - i] for i in range(min(t, order))]
        return np.concatenate([*lags, np.ones((len(x), 1))], 1)

    def fitted(inputs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = np.linalg.lstsq(inputs, y, rcond=None)[0]
        left = y - inputs @ weight
        return weight, left.T @ left / len(left) + 1e-6 * np.eye(size)

    steps = range(train.shape[1])
    later = fitted(
        np.concatenate([design(train, t) for t in steps if t >= order]),
        train[:, order:].swapaxes(0, 1).reshape(-1, size),
    )
    laws = [later if t >= order else fitted(design(train, t), train[:, t]) for t in steps]

    def density(x: np.ndarray) -> np.ndarray:
        total = np.zeros(len(x))
        for t, (weight, covariance) in enumerate(laws):
            left = x[:, t] - design(x, t) @ weight
            distance = (left * np.linalg.solve(covariance, left.T).T).sum(1)
            total -= 0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1])
        return total

    return density


def _hidden_markov(train: np.ndarray, states: int) -> Density:
    """Gaussian states with variances of their own, by Baum–Welch from k-means."""
    x = torch.from_numpy(train)
    torch.manual_seed(0)
    centres, _ = k_means(x.flatten(0, 1), states)
    stays = np.full((states, states), 0.1 / max(1, states - 1))
    np.fill_diagonal(stays, 0.9 if states > 1 else 1.0)
    start = HiddenMarkov(
        torch.full((states,), 1 / states).double(),
        torch.from_numpy(stays),
        NormalStates(centres, torch.ones_like(centres)),
    )
    *_, last = baum_welch(start, x, max_iterations=200, tolerance=1e-4)
    return lambda new: last.model.chain(torch.from_numpy(new)).log_evidence.numpy()
