"""Stacked candidates: weights against a grid, and a stack is not below its best candidate on rows it has not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lowerbound.exact import LinearGaussian
from lowerbound.linear import (
    Candidate,
    MixedRows,
    OtherColumns,
    candidates,
    fit_factor_analysis,
    fit_stack,
    observed_log_evidence,
    stacking_weights,
)
from lowerbound.linear.portfolio import mixed_candidates


def test_weights_are_the_best_on_a_grid() -> None:
    torch.manual_seed(0)
    log_p = 2 * torch.randn(50, 2, dtype=torch.float64)
    grid = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    values = (log_p[None] + torch.stack([grid, 1 - grid], 1).log()[:, None]).logsumexp(2).mean(1)
    assert float(stacking_weights(log_p, tolerance=1e-12)[0]) == pytest.approx(float(grid[values.argmax()]), abs=2e-3)


def test_a_density_that_is_worse_everywhere_gets_no_weight() -> None:
    log_p = torch.randn(100, 1).double() + torch.tensor([[0.0, -3.0]])
    assert float(stacking_weights(log_p)[1]) < 1e-3


def test_rows_without_a_density_are_refused() -> None:
    with pytest.raises(ValueError, match="finite log-density"):
        stacking_weights(torch.full((3, 2), -float("inf")))


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [Candidate(num_clusters=1, latent_dim=None), Candidate(num_clusters=2, latent_dim=1, shrinkage=1.0)]
    monkeypatch.setattr("lowerbound.linear.portfolio.candidates", lambda n, d: iter(few))


@pytest.mark.usefixtures("two")
def test_a_stack_is_the_weighed_sum_of_its_candidates_fitted_to_all_rows() -> None:
    torch.manual_seed(0)
    x = LinearGaussian.random(4, 1).sample(150) + 5.0 * (torch.arange(150) % 2)[:, None] * torch.randn(150, 1).double()
    stack = fit_stack(x)
    order = x[torch.randperm(150, generator=torch.Generator().manual_seed(0))]
    terms = [c.fit(MixedRows(order)).log_evidence(x) for c in stack.taken]
    expected = (torch.stack(terms, 1) + torch.tensor(stack.weights).log()).logsumexp(1)
    torch.testing.assert_close(stack.mixture.log_evidence(x), expected, atol=1e-4, rtol=1e-5)
    assert float(stack.held_out.mean()) >= float(stack.single.mean()) - 1e-6


@pytest.mark.usefixtures("two")
def test_clusters_are_named_by_the_heaviest_candidate_that_has_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate of one cluster tells no row from another."""
    torch.manual_seed(0)
    x = LinearGaussian.random(4, 1).sample(100) + 9.0 * (torch.arange(100) % 2)[:, None]
    weights = torch.tensor([0.7, 0.3], dtype=torch.float64)
    monkeypatch.setattr("lowerbound.linear.portfolio.stacking_weights", lambda log_p: weights)
    stack = fit_stack(x)
    assert [taken.num_clusters for taken in stack.taken] == [1, 2]
    assert set(stack.cluster.tolist()) == {-1, 0, 1}


def test_data_of_factor_analysis_are_scored_as_by_factor_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [Candidate(num_clusters=1, latent_dim=rank, shrinkage=1.0) for rank in (1, 2, None)]
    monkeypatch.setattr("lowerbound.linear.portfolio.candidates", lambda n, d: iter(ranks))
    x, new = LinearGaussian.random(8, 2).sample(300), LinearGaussian.random(8, 2).sample(300)
    *_, exact = fit_factor_analysis(x, 2)
    assert float((fit_stack(x).mixture.log_evidence(new) - observed_log_evidence(exact.exact, new)).mean()) > -0.05


def test_candidates_can_be_fitted_to_the_rows_that_they_are_for() -> None:
    for n, d in ((10, 1), (30, 2), (100, 5), (500, 40)):
        for candidate in candidates(n, d):
            assert (
                candidate.num_clusters <= n // 10 or candidate.num_clusters == 1 or n >= 3 * d * candidate.num_clusters
            )
            assert candidate.latent_dim is None or candidate.latent_dim < d - 1 or candidate.latent_dim == 0


def _corners(n: int, seed: int) -> MixedRows:
    """Eight columns along one line, two others, and a class that says in which corner of the square of these two a row
    is; a third of the classes are missing."""
    g = torch.Generator().manual_seed(seed)
    line, square = torch.randn(n, 1, generator=g), torch.rand(n, 2, generator=g) * 3**0.5 * 2 - 3**0.5
    corner = (square[:, 0] > 0).long() * 2 + (square[:, 1] > 0).long()
    real = torch.cat([line + 0.1 * torch.randn(n, 6, generator=g), square], 1).double()
    classes = torch.where(torch.rand(n, generator=g) < 0.3, torch.nan, corner.double())[:, None]
    return MixedRows(real, OtherColumns(classes, (4,), classes[:, :0]))


def test_clusters_of_the_classes_find_what_those_of_all_columns_do_not() -> None:
    """Most columns go along one line, and clusters of all columns cut it; those of the classes cut the square."""
    rows, new = _corners(300, 0), _corners(300, 1)
    sizes = {"num_clusters": 4, "latent_dim": 2, "levels": (1.0, 4.0), "shrinkage": 1.0}
    plain, begun = (Candidate(**sizes), Candidate(**sizes, start="other columns"))
    scores = [float(c.fit(rows).log_evidence(new.real, new.others).mean()) for c in (plain, begun)]
    assert scores[1] > scores[0] + 0.3
    assert str(begun).endswith(", from clusters of classes and counts")


def test_a_candidate_begins_at_classes_only_where_they_differ_in_enough_rows() -> None:
    rows = _corners(300, 0)
    one = Candidate(num_clusters=2, latent_dim=0, start="other columns")
    assert one.can_begin(rows)  # four classes and none
    assert not replace(one, num_clusters=3).can_begin(rows)
    assert not one.can_begin(MixedRows(rows.real))
    assert replace(one, num_clusters=3, start="all columns").can_begin(MixedRows(rows.real))


def test_many_clusters_are_for_enough_rows_of_few_columns() -> None:
    many = [c for c in mixed_candidates(2000, 7) if c.num_clusters * (c.latent_dim or 0) >= 100]
    assert [(c.num_clusters, c.latent_dim, c.start) for c in many] == [
        (k, 4, start) for k in (25, 50) for start in ("all columns", "other columns")
    ]
    assert not [c for n, d in ((500, 7), (2000, 30), (2000, 5)) for c in mixed_candidates(n, d) if c in many]


def test_few_rows_and_infinite_values_are_refused() -> None:
    x = torch.randn(40, 2).double()
    x[3, 1] = float("inf")
    with pytest.raises(ValueError, match="finite"):
        fit_stack(x)
    with pytest.raises(ValueError, match="at least 10"):
        fit_stack(torch.randn(5, 2).double())


@pytest.mark.parametrize(
    "options, words",
    [
        ({"latent_dim": 2, "shrinkage": 1.0}, "2 factors, shrunk"),
        ({"shrinkage": 1e9, "target": "autoregression"}, "autoregression"),
        ({"shrinkage": 1e9, "target": "autoregression", "levels": (0.5, 2.0)}, "autoregression, heavy tails"),
        (
            {"shrinkage": 9.0, "target": "autoregressive covariance", "levels": (0.5, 2.0)},
            "full covariance, heavy tails, near an autoregression",
        ),
    ],
)
def test_a_candidate_is_named_in_words(options, words):
    assert str(Candidate(**{"num_clusters": 1, "latent_dim": None, **options})) == f"1 x {words}"
