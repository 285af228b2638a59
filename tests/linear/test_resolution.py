"""Columns on a grid: their steps, and fits whose densities add up to probabilities over the cells."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from lowerbound.linear import Candidate, Resolution, fit_scaled_mixture
from lowerbound.linear.scaled_covariance import structured
from lowerbound.one_call import fit

MOST_OFF = 2 * math.exp(-(math.pi**2) / 2)  # of a sum over cells from 1, for σ of half a width


def ages(count: int = 400) -> Tensor:
    torch.manual_seed(0)
    return (40.0 + 12.0 * torch.randn(count, 1, dtype=torch.float64)).round()


def test_steps_are_those_of_the_values_whatever_their_rounding_and_gaps() -> None:
    x = torch.cat([ages() / 7, (ages() / 5).round() * 2.5, torch.randn(400, 1).double()], 1)
    x[3] = float("nan")
    x[5, 0] += 1e-7
    found = Resolution.of(x)
    torch.testing.assert_close(found.step, torch.tensor([1 / 7, 2.5, 0.0]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.width(x[:1, :1].expand(2, 3)), found.step.expand(2, 3))


def test_cells_on_a_logarithm_are_as_wide_as_steps_are_there() -> None:
    values = torch.arange(1, 60).double().repeat(2)[:, None]
    mean, scale = values.log().mean(), values.log().std()
    x = (values.log() - mean) / scale
    found = Resolution.of(x, scale[None])
    edges = (((values + 0.5) / (values - 0.5)).log() / scale)[9:40]
    torch.testing.assert_close(found.width(x)[9:40], edges, rtol=1e-3, atol=0)
    near_zero = torch.full((1, 1), -50.0, dtype=torch.float64)
    assert float(found.width(near_zero)) == pytest.approx(1 / float(scale))


@pytest.mark.parametrize("centre", [0.0, 0.21, 0.5])
def test_cells_of_a_gaussian_at_the_floor_add_up_to_one(centre: float) -> None:
    resolution = Resolution(torch.tensor([0.3]).double(), torch.zeros(1).double())
    sigma = resolution.floor(torch.zeros(1).double(), 1e-3)
    points = 0.3 * (torch.arange(-20, 21).double() - centre)
    total = float((0.3 * torch.distributions.Normal(0.0, sigma).log_prob(points).exp()).sum())
    assert total == pytest.approx(1.0, abs=MOST_OFF * 1.001)
    assert centre == 0.21 or abs(total - 1) > 0.99 * MOST_OFF  # the bound is reached


@pytest.mark.parametrize("latent_dim", [None, 0, 1])
def test_no_cluster_is_narrower_than_half_a_step(latent_dim: int | None) -> None:
    x = torch.cat([(ages() / 9).round() - 4, torch.randn(400, 1).double()], 1)
    resolution = Resolution.of(x)
    fitted = fit_scaled_mixture(x, 12, latent_dim, levels=(1.0, 4.0), resolution=resolution)
    free = fit_scaled_mixture(x, 12, latent_dim, levels=(1.0, 4.0))
    floor = 0.25
    assert float(fitted.variance[:, 0].min()) >= floor * (1 - 1e-6)
    assert float(free.covariance[:, 0, 0].min()) < floor / 2  # which is what the floor is for


def test_the_covariance_above_a_floor_is_the_most_likely_one() -> None:
    torch.manual_seed(1)
    root = torch.randn(1, 3, 3).double() / 2
    scatter, floor = root @ root.mT, torch.tensor([[0.3, 0.05, 0.5]]).double()

    def value(w: Tensor) -> float:
        sigma = w @ w.mT + torch.diag_embed(floor)
        return -0.5 * float(torch.logdet(sigma) + (torch.linalg.inv(sigma) @ scatter).diagonal(dim1=1, dim2=2).sum())

    weight, variance = structured(scatter, None, floor, None)
    assert torch.equal(variance, floor)
    best = value(weight)
    assert all(value(weight + size * torch.randn_like(weight)) < best for size in (1e-3, 1e-2, 0.1) for _ in range(20))


def test_a_floor_below_a_covariance_leaves_it_alone() -> None:
    root = torch.randn(2, 3, 3).double()
    scatter = root @ root.mT + torch.eye(3)
    weight, variance = structured(scatter, None, torch.full((2, 3), 0.1).double(), None)
    torch.testing.assert_close(weight @ weight.mT + torch.diag_embed(variance), scatter)


@pytest.fixture
def one_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    spiky = Candidate(num_clusters=12, latent_dim=1)
    for name in ("candidates", "mixed_candidates"):
        monkeypatch.setattr(f"lowerbound.linear.portfolio.{name}", lambda n, d: iter([spiky]))


@pytest.mark.usefixtures("one_candidate")
@pytest.mark.parametrize("gap", [False, True])
def test_probabilities_of_the_cells_of_a_table_add_up_to_one(gap: bool) -> None:
    """By the command's own road: halves, and skewed whole numbers that are fitted as logarithms or as positive."""
    g = np.random.default_rng(0)
    z = g.normal(size=400)
    frame = pd.DataFrame({"halves": (2 * z + g.normal(size=400)).round() / 2, "days": np.exp(3 + z / 4).round()})
    if gap:
        frame.loc[3, "halves"] = None
    fitted = fit(frame, seed=0, columns={"days": "positive"} if gap else {})
    halves, days = np.meshgrid(np.arange(-8, 8.1, 0.5), np.arange(1.0, 100.0))
    cells = pd.DataFrame({"halves": halves.ravel(), "days": days.ravel()})
    assert float(np.exp(fitted.score(cells)).sum() * 0.5) == pytest.approx(1.0, abs=0.03)
