"""Counts on factors: the sum over a grid, the regression of scipy, and EM that climbs and finds what is there."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from lowerbound.linear import Candidate, MixedRows, OtherColumns, fit_scaled_mixture
from lowerbound.linear.count_factors import CountGrid
from lowerbound.linear.portfolio import fit_stack
from lowerbound.linear.scaled_mixture import ScaledMixture


@cache
def counts(rows: int = 300) -> torch.Tensor:
    """Six columns of one factor, half of them falling with it."""
    g = np.random.default_rng(0)
    z = g.normal(size=(rows, 1))
    mean = np.exp(2 + z * np.array([1.0, 0.8, 0.6, -0.6, -0.8, -1.0]))
    return torch.as_tensor(g.poisson(mean * g.gamma(4.0, 0.25, mean.shape)), dtype=torch.float64)


def rows_of(x: torch.Tensor) -> MixedRows:
    return MixedRows(x[:, :0], OtherColumns(x[:, :0], (), x))


def fitted(clusters: int, factors: int, iterations: int = 60) -> ScaledMixture:
    rows = rows_of(counts())
    return fit_scaled_mixture(
        rows.real, clusters, 0, others=rows.others, count_factors=factors, max_iterations=iterations
    )


@pytest.mark.parametrize("clusters, factors", [(1, 1), (2, 2)])
def test_log_p_is_the_sum_over_clusters_and_points_by_scipy(clusters: int, factors: int) -> None:
    fit, new = fitted(clusters, factors, 5), counts()[:20].clone()
    new[3, 2] = float("nan")
    assert fit.others is not None
    m, r = fit.others.mean.numpy(), fit.others.inverse_dispersion.numpy()
    log_p = np.nan_to_num(stats.nbinom(r, r / (r + m)).logpmf(new.numpy()[:, None])).sum(2)
    expected = np.logaddexp.reduce(log_p + fit.log_weights[:, 0].numpy(), 1)
    rows = rows_of(new)
    np.testing.assert_allclose(fit.log_evidence(rows.real, rows.others).numpy(), expected, rtol=1e-9)


def test_means_are_log_linear_in_the_points() -> None:
    fit, grid = fitted(2, 1, 5), CountGrid(2, 1)
    assert fit.others is not None
    log_mean = fit.others.mean.log()
    torch.testing.assert_close(grid.matrix @ grid.coefficients_at(fit.others.mean), log_mean)


def test_steps_reach_the_regression_of_scipy() -> None:
    g, grid, r = np.random.default_rng(1), CountGrid(1, 1), 2.5
    weight = torch.as_tensor(g.uniform(1, 9, (len(grid.points), 1)))
    total = weight * torch.as_tensor(np.exp(1 + 0.5 * grid.points.numpy() + 0.3 * g.normal(size=weight.shape)))
    b = grid.coefficients_of(total, weight)
    for _ in range(30):
        b = grid.step(b, total, weight, torch.tensor([r]).double())

    def loss(b: np.ndarray) -> float:
        m = np.exp(grid.matrix.numpy() @ b)
        return -float((total.numpy()[:, 0] * np.log(m / (r + m)) - weight.numpy()[:, 0] * r * np.log1p(m / r)).sum())

    np.testing.assert_allclose(b[:, 0].numpy(), optimize.minimize(loss, np.zeros(2), tol=1e-10).x, atol=1e-4)


def test_em_climbs_and_a_factor_is_worth_what_columns_share() -> None:
    rows = rows_of(counts())
    values = [float(fitted(1, 1, n).log_evidence(rows.real, rows.others).mean()) for n in (0, 1, 2, 4, 8)]
    assert all(later > former - 1e-2 for former, later in pairwise(values))
    new = rows_of(counts(600)[300:])
    one = fitted(1, 1).log_evidence(new.real, new.others).mean()
    assert float(one - fitted(1, 0).log_evidence(new.real, new.others).mean()) > 1.0
    assert float(one - fitted(4, 0).log_evidence(new.real, new.others).mean()) > 0.1


def test_clusters_of_a_stack_are_not_the_points_of_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowerbound.linear.portfolio.mixed_candidates", lambda n, d: iter(()))
    one = Candidate(num_clusters=2, latent_dim=0, count_factors=1)
    monkeypatch.setattr("lowerbound.linear.portfolio.count_candidates", lambda n, d: iter([one]))
    stack = fit_stack(rows_of(counts()[:60]))
    assert sorted(set(stack.cluster.tolist())) == [0, 1]
    assert "2 x counts of 1 factor" in stack.sentence


def test_other_columns_beside_counts_are_refused() -> None:
    x = counts()
    with pytest.raises(ValueError, match="count_factors is 1"):
        fit_scaled_mixture(x[:, :1], 1, 0, others=OtherColumns(x[:, :0], (), x), count_factors=1)
    with pytest.raises(ValueError, match="1 to 3 factors"):
        CountGrid(1, 4)
