"""Mixtures moved by classes: the density is that of scipy summed over cells, EM climbs, planted effects are found."""

from __future__ import annotations

import itertools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from lowerbound.linear import MixedRows, OtherColumns, fit_stack
from lowerbound.linear.gaps import filled_at_means
from lowerbound.linear.location_mixture import LocationMixture, _LocationFit, fit_location_mixture
from lowerbound.linear.moving_columns import columns_that_move
from lowerbound.linear.portfolio import Candidate, location_candidates

NAN = float("nan")


def planted(n: int = 300, gaps: float = 0.0, seed: int = 0) -> tuple[MixedRows, torch.Tensor]:
    """Two numbers moved by a column of three classes and one of two, and a third column of two that moves nothing."""
    g = torch.Generator().manual_seed(seed)
    classes = torch.stack([torch.randint(k, (n,), generator=g) for k in (3, 2, 2)], 1).double()
    effects = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0], [0.7, -0.7], [-0.7, 0.7]]).double()
    d = torch.cat([torch.nn.functional.one_hot(classes[:, j].long(), k) for j, k in ((0, 3), (1, 2))], 1).double()
    noise = torch.randn(n, 2, generator=g).double() @ torch.tensor([[0.5, 0.3], [0.0, 0.4]]).double()
    real = d @ effects + noise
    hole = torch.rand(n, 5, generator=g) < gaps
    hole[:, 0] &= ~hole[:, 1:].all(1)
    return (
        MixedRows(
            real.masked_fill(hole[:, :2], NAN),
            OtherColumns(classes.masked_fill(hole[:, 2:], NAN), (3, 2, 2), classes[:, :0]),
        ),
        effects,
    )


def by_hand(fit: LocationMixture, x: np.ndarray, classes: np.ndarray) -> float:
    """log p of the observed entries of a row, every cell and every cluster in turn."""
    others = fit.clusters.others
    assert others is not None
    p = [part.exp().numpy() for part in others.log_p.split(fit.cells.sizes, 1)]
    seen, total = ~np.isnan(x), 0.0
    for cell in itertools.product(*(range(k) for k in fit.cells.sizes)):
        if any(not np.isnan(known) and known != c for known, c in zip(classes, cell, strict=True)):
            continue
        which = fit.cells.each.tolist().index([cell[j] for j in fit.cells.columns])
        for k, s in np.ndindex(*fit.clusters.log_weights.shape):
            mean = (fit.clusters.loc[k] + fit.shift[which]).numpy()[seen]
            covariance = (fit.clusters.levels[s] * fit.clusters.covariance[k]).numpy()[np.ix_(seen, seen)]
            density = stats.multivariate_normal(mean, covariance).pdf(x[seen]) if seen.any() else 1.0
            of_classes = np.prod([p[j][k, c] for j, c in enumerate(cell)])
            total += float(fit.clusters.log_weights[k, s].exp()) * density * of_classes
    return np.log(total)


@pytest.mark.parametrize("block", [10**7, 40])
def test_the_density_is_a_sum_over_cells_clusters_and_levels(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gaps of every kind, in one block and in many."""
    rows, _ = planted(200, gaps=0.3)
    monkeypatch.setattr("lowerbound.linear.class_cells.BLOCK", block)
    fit = fit_location_mixture(rows, 2, 1, [0, 1], levels=(1.0, 4.0), shrinkage=1.0)
    assert rows.others is not None
    found = fit.log_evidence(rows.real, rows.others)
    expected = [by_hand(fit, x.numpy(), c.numpy()) for x, c in zip(rows.real[:40], rows.others.classes, strict=False)]
    np.testing.assert_allclose(found[:40], expected, rtol=1e-9)


def test_spelled_out_it_is_the_same_density() -> None:
    """But for the millionth that a class has in the cells of another."""
    rows, _ = planted(200, gaps=0.3)
    fit = fit_location_mixture(rows, 2, None, [1, 0], levels=(1.0, 4.0), shrinkage=1.0)
    spelled = fit.spelled_out()
    assert len(spelled.loc) == 2 * 6
    assert spelled.points == 6
    assert float(spelled.log_weights.exp().sum()) == pytest.approx(1.0)
    own, others = fit.log_evidence(rows.real, rows.others), spelled.log_evidence(rows.real, rows.others)
    torch.testing.assert_close(others, own, atol=1e-3, rtol=0)
    unseen = OtherColumns(torch.tensor([[0.0, 1.0, NAN]]).double(), (3, 2, 2), torch.zeros(1, 0).double())
    assert bool(spelled.log_evidence(torch.tensor([[50.0, -50.0]]).double(), unseen).isfinite())


def test_complete_rows_have_the_effects_of_a_regression() -> None:
    """One Gaussian cluster without a prior of its covariance: least squares, drawn to 0 by one row beside 300."""
    rows, effects = planted()
    fit = fit_location_mixture(rows, 1, None, [0, 1], tolerance=1e-9, max_iterations=200)
    assert rows.others is not None
    d = torch.cat([torch.ones(300, 1), rows.others.one_hot[:, :5]], 1).double()
    least_squares = d @ torch.linalg.lstsq(d, rows.real, driver="gelsd").solution
    of_cell = rows.others.classes[:, 0] * 2 + rows.others.classes[:, 1]
    fitted = fit.clusters.loc[0] + fit.shift[of_cell.long()]
    torch.testing.assert_close(fitted, least_squares, atol=0.02, rtol=0)
    between = effects[:2] - effects[1:3]
    torch.testing.assert_close(fit.effects[:2] - fit.effects[1:3], between, atol=0.15, rtol=0)


def test_one_cluster_solves_the_equation_of_several() -> None:
    """Beside it a copy of the cluster, so that Σ_k H_k Δ Q_k is written out."""
    rows, _ = planted(150, gaps=0.2)
    old = fit_location_mixture(rows, 1, None, [0, 1], max_iterations=3)
    fit = _LocationFit(rows, filled_at_means(rows.real), old.cells, 1, None, (1.0,), 0.0, 1e-3, None)
    _, (weight, deviation), _, _ = fit._expect(old)
    clusters = old.clusters
    twice = replace(
        clusters,
        loc=clusters.loc.repeat(2, 1),
        log_weights=clusters.log_weights.repeat(2, 1) - np.log(2),
        weight=clusters.weight.repeat(2, 1, 1),
        variance=clusters.variance.repeat(2, 1),
    )
    one = fit._effects(old.effects, clusters, weight, deviation)
    two = fit._effects(old.effects, twice, weight.repeat(1, 2) / 2, deviation.repeat(1, 2, 1) / 2)
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, old.effects)


def test_many_classes_beside_many_numbers_solve_small_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """An equation for all 9,000 numbers of A would be 650 MB."""
    solve, sizes = torch.linalg.solve, []
    monkeypatch.setattr(torch.linalg, "solve", lambda a, b: (sizes.append(a.shape[-1]), solve(a, b))[1])
    g = torch.Generator().manual_seed(0)
    classes = torch.randint(300, (900, 1), generator=g).double()
    real = torch.randn(900, 30, generator=g).double() + classes / 20
    others = OtherColumns(classes, (300,), classes[:, :0])
    assert columns_that_move(MixedRows(real, others)) == ()  # 300 numbers for each of 30 columns are too many
    assert 1 < max(sizes) <= 300


def test_several_clusters_share_no_more_effects_than_an_equation_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = planted(200)
    assert [each.num_clusters for each in location_candidates(rows)] == [1, 3, 6, 12]
    monkeypatch.setattr("lowerbound.linear.portfolio._MOST_EFFECTS", 9)  # of 3 and 2 classes and 2 columns: 10
    assert [each.num_clusters for each in location_candidates(rows)] == [1]


def test_a_column_whose_gaps_fill_the_pairs_is_not_tried() -> None:
    """200 classes in a third of the rows: 130 pairs for each row."""
    g = torch.Generator().manual_seed(0)
    classes = torch.randint(200, (600, 1), generator=g).double()
    real = classes / 10 + torch.randn(600, 1, generator=g).double()
    rows = MixedRows(real, OtherColumns(classes, (200,), classes[:, :0]))
    assert columns_that_move(rows) == (0,)
    gaps = classes.masked_fill(torch.rand(600, 1, generator=g) < 0.65, NAN)
    assert columns_that_move(MixedRows(real, OtherColumns(gaps, (200,), classes[:, :0]))) == ()


def test_gaps_of_a_quarter_leave_the_effects() -> None:
    rows, effects = planted(2000, gaps=0.25)
    fit = fit_location_mixture(rows, 1, None, [0, 1], tolerance=1e-6)
    torch.testing.assert_close(fit.effects[:2] - fit.effects[1:3], effects[:2] - effects[1:3], atol=0.1, rtol=0)


def test_the_posterior_density_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likelihood of rows and of the pseudo-row of each cluster, at every iteration."""
    monkeypatch.setattr("lowerbound.linear.location_mixture._PRIOR_ROWS", 1e-6)
    rows, _ = planted(120, gaps=0.3)
    others, values = rows.others, []
    assert others is not None
    for iterations in range(1, 12):
        fit = fit_location_mixture(rows, 2, None, [0, 1], levels=(1.0, 5.0), tolerance=-1.0, max_iterations=iterations)
        assert fit.clusters.others is not None
        pseudo = fit.clusters.others.log_p @ others.frequencies
        values.append(float(fit.log_evidence(rows.real, others).sum() + pseudo.sum()))
    assert all(later >= earlier - 1e-3 for earlier, later in pairwise(values))
    assert values[-1] > values[0] + 1


def test_the_columns_that_move_are_found() -> None:
    assert columns_that_move(planted(gaps=0.2)[0]) == (0, 1)
    rows, _ = planted()
    assert columns_that_move(MixedRows(rows.real)) == ()
    assert columns_that_move(MixedRows(torch.randn(300, 2).double(), rows.others)) == ()


def test_a_table_of_many_cells_keeps_the_columns_that_move_most(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = planted()
    monkeypatch.setattr("lowerbound.linear.moving_columns._MOST_CELLS", 5)
    assert columns_that_move(rows) == (0,)  # 3 and then 2 classes are 6 cells


def test_a_stack_takes_it_where_classes_move_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside it are clusters alone and one Gaussian."""
    few = [Candidate(num_clusters=5, latent_dim=0, shrinkage=1.0), Candidate(num_clusters=1, latent_dim=None)]
    monkeypatch.setattr("lowerbound.linear.portfolio.mixed_candidates", lambda n, d: iter(few))
    monkeypatch.setattr("lowerbound.linear.portfolio._MOVED_CLUSTERS", (1,))
    rows, _ = planted(300, gaps=0.2)
    stack = fit_stack(rows)
    moved = [w for w, each in zip(stack.weights, stack.taken, strict=True) if each.moved_by]
    assert sum(moved) > 0.5
    assert str(stack.taken[0]).endswith(", moved by 2 columns of classes")


def test_a_candidate_that_is_moved_is_fitted_and_joined() -> None:
    rows, _ = planted(200)
    one = Candidate(num_clusters=2, latent_dim=None, levels=(1.0, 4.0), shrinkage=1.0, moved_by=(0,))
    assert str(one) == "2 x full covariance, heavy tails, shrunk, moved by 1 column of classes"
    assert isinstance(one.fit(rows), LocationMixture)
    assert len(one.fit_alike(rows).loc) == 6


def test_what_cannot_be_fitted_is_refused() -> None:
    rows, _ = planted()
    for wrong, columns in (
        (rows, []),
        (rows, [3]),
        (MixedRows(rows.real), [0]),
        (MixedRows(rows.real[:, :0], rows.others), [0]),
    ):
        with pytest.raises(ValueError, match="a location mixture needs real columns"):
            fit_location_mixture(wrong, 1, None, columns)
