"""The covariance of an autoregression against its conditional densities in turn, and against the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from lowerbound.linear import fit_scaled_mixture, fit_stack
from lowerbound.linear.autoregression import autoregression


def series(num_series: int, seed: int = 0) -> torch.Tensor:
    """Two channels of the second order around (3, -1), from rest."""
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(num_series, 14, 2, dtype=torch.float64)
    for t in range(2, 14):
        noise = 0.5 * torch.randn(num_series, 2, generator=g, dtype=torch.float64)
        x[:, t] = 1.2 * x[:, t - 1] - 0.5 * x[:, t - 2] + 0.1 * x[:, t - 1].flip(1) + noise
    return x[:, 2:] + torch.tensor([3.0, -1.0])


@pytest.mark.parametrize("channels", [1, 2])
def test_the_density_is_the_product_of_regressions(channels: int) -> None:
    x = series(300)[:, :, :channels]
    mean, covariance = autoregression(x)
    found = MultivariateNormal(mean, covariance).log_prob(x.flatten(1))
    y, expected = x.numpy(), np.zeros(300)
    later = [np.concatenate([y[:, t - 1], y[:, t - 2], np.ones((300, 1))], 1) for t in range(2, 12)]
    first = [np.ones((300, 1)), np.concatenate([y[:, 0], np.ones((300, 1))], 1)]
    groups = [
        (first[0], y[:, 0]),
        (first[1], y[:, 1]),
        (np.concatenate(later), np.concatenate(list(y[:, 2:].swapaxes(0, 1)))),
    ]
    for inputs, steps in groups:
        left = steps - inputs @ np.linalg.lstsq(inputs, steps, rcond=None)[0]
        v = left.T @ left / len(left)
        log_p = -0.5 * ((left @ np.linalg.inv(v) * left).sum(1) + np.linalg.slogdet(2 * np.pi * v)[1])
        expected += log_p.reshape(-1, 300).sum(0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)


def test_an_autoregression_and_its_stack_find_the_law_of_few_series() -> None:
    """Of 24 numbers, from 30 series: any covariance has nearly as many parameters as there are numbers."""
    x, new = series(30).flatten(1), series(2000, seed=1).flatten(1)
    entropy = 24 * (np.log(0.5) + 0.5 * np.log(2 * np.pi * np.e))
    target = fit_scaled_mixture(x, 1, None, shrinkage=1e9, target="autoregression", num_steps=12)
    stack, blind = fit_stack(x, num_steps=12), fit_stack(x)
    found = [float(m.log_evidence(new).mean()) for m in (target, stack.mixture, blind.mixture)]
    assert found[0] > -entropy - 0.7
    assert found[1] > -entropy - 0.7
    assert found[2] < found[1] - 2


def test_the_mean_of_a_cluster_near_an_autoregression_is_that_of_all_its_rows_and_of_the_law() -> None:
    x = series(40).flatten(1)
    mean, _ = autoregression(series(40))
    near = fit_scaled_mixture(x, 1, None, shrinkage=120.0, target="autoregression", num_steps=12, max_iterations=1)
    torch.testing.assert_close(near.loc[0], (40 * x.mean(0) + 120 * mean) / 160)
    alone = fit_scaled_mixture(
        x, 1, None, shrinkage=120.0, target="autoregressive covariance", num_steps=12, max_iterations=1
    )
    torch.testing.assert_close(alone.loc[0], x.mean(0))


@pytest.mark.parametrize("num_series, num_steps", [(3, 2), (12, 30), (200, 3)])
def test_any_numbers_of_series_and_steps_are_taken(num_series: int, num_steps: int) -> None:
    x = torch.randn(num_series, num_steps, 4, generator=torch.Generator().manual_seed(0)).double()
    _, covariance = autoregression(x)
    assert bool(torch.linalg.eigvalsh(covariance).min() > 0)
