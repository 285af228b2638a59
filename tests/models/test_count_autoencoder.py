"""The start is independent negative binomials, by numbers of scipy; training raises it where columns share more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from lowerbound import VariationalLoss, gradients, objectives
from lowerbound.data import InMemory
from lowerbound.evaluate import log_evidence
from lowerbound.models.count_autoencoder import best_dispersion, count_autoencoder, start_at_columns
from lowerbound.training.loop import train


def counts() -> torch.Tensor:
    g = np.random.default_rng(0)
    z = g.normal(size=(200, 1))
    return torch.as_tensor(g.poisson(np.exp(2 + 1.5 * z * np.ones((1, 6)))), dtype=torch.float32)


def of_columns(x: torch.Tensor) -> np.ndarray:
    m = x.mean(0)
    r = best_dispersion(x, m).numpy()
    return stats.nbinom(r, r / (r + m.numpy())).logpmf(x.numpy()).sum(1)


def test_dispersion_is_the_best_of_scipy() -> None:
    x = counts()[:, :1]
    r = float(best_dispersion(x, x.mean(0)))
    m = float(x.mean())

    def value(r: float) -> float:
        return float(stats.nbinom(r, r / (r + m)).logpmf(x.numpy()).sum())

    assert value(r) >= max(value(r * 1.3), value(r / 1.3))


def test_it_starts_at_independent_columns_and_learns_what_they_share() -> None:
    torch.manual_seed(0)
    x, model = counts(), count_autoencoder((6,), latent_dim=2, hidden=[16])
    start_at_columns(model, x)
    columns = of_columns(x).mean()
    at_start = log_evidence(model, x, num_samples=200).mean
    assert at_start == pytest.approx(columns, abs=0.7)
    loss = VariationalLoss(model, objectives.ELBO(rate="kl"), gradients.Pathwise())
    for _ in train(loss, InMemory(x), num_steps=200, batch_size=50, lr=5e-3, compile=False):
        pass
    assert log_evidence(model, x, num_samples=200).mean > columns + 1.0


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="takes vectors"):
        count_autoencoder((4, 4))
