"""Counts of few values in mixtures: as negative binomials and as tables, in one mixture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from lowerbound.linear import Candidate, MixedRows, OtherColumns, OtherParameters
from lowerbound.one_call import fit


def test_negative_binomials_written_as_tables_are_the_same_distribution() -> None:
    torch.manual_seed(0)
    mean, r = torch.rand(2, 3).double() * 3 + 0.1, torch.rand(2, 3).double() * 4 + 0.3
    log_p = torch.log_softmax(torch.randn(2, 2).double(), 1)
    counts = torch.tensor([[0.0, 3.0, 2.0], [2.0, 7.0, float("nan")], [1.0, 0.0, 4.0]]).double()
    rows = OtherColumns(torch.tensor([[0.0], [1.0], [1.0]]).double(), (2,), counts, tables=(3, 0, 5))
    parameters = OtherParameters(log_p, mean, r)
    torch.testing.assert_close(parameters.tabled(rows.tables).log_prob(rows.tabled()), parameters.log_prob(rows))


@pytest.fixture
def two_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [Candidate(num_clusters=k, latent_dim=0, shrinkage=1.0) for k in (1, 2)]
    monkeypatch.setattr("lowerbound.linear.portfolio.mixed_candidates", lambda n, d: iter(few))
    monkeypatch.setattr("lowerbound.linear.portfolio.count_candidates", lambda n, d: iter([]))


def answers(count: int = 300) -> pd.DataFrame:
    """Ratings from 1 to 5 of two kinds of people, which vary by less than a Poisson."""
    g = np.random.default_rng(0)
    kind = g.integers(2, size=count)
    shares = np.array([[0.05, 0.1, 0.15, 0.3, 0.4], [0.4, 0.35, 0.15, 0.05, 0.05]])
    return pd.DataFrame({f"q{i}": [1 + g.choice(5, p=shares[k]) for k in kind] for i in range(3)})


@pytest.mark.usefixtures("two_candidates")
def test_ratings_are_ahead_of_their_frequencies_and_a_new_value_has_a_probability() -> None:
    frame = answers()
    train, test = frame[:200], frame[200:]
    fitted = fit(train, kind="counts", hold_out=False, seed=0)
    assert fitted.plan is not None
    assert fitted.plan.model["columns"] == "3*small-count-6"
    frequencies = sum(np.log([np.mean(train[c] == v) for v in test[c]]).mean() for c in frame)
    assert float(fitted.score(test).mean()) > frequencies + 0.1
    other = pd.DataFrame({"q0": [7], "q1": [5], "q2": [5]})
    assert np.isfinite(fitted.score(other)).all()
    grid = np.stack(np.meshgrid(*[np.arange(24)] * 3), -1).reshape(-1, 3)
    total = np.exp(fitted.score(pd.DataFrame(grid, columns=frame.columns))).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-3)


def test_a_candidate_sees_small_counts_as_classes_if_it_is_tabled() -> None:
    counts = torch.tensor([[1.0, 9.0], [4.0, 2.0]]).double()
    rows = MixedRows(counts[:, :0], OtherColumns(counts[:, :0], (), counts, tables=(4, 0)))
    seen = Candidate(num_clusters=1, latent_dim=0, tabled=True).seen(rows).others
    assert seen is not None
    assert seen.sizes == (5,)
    torch.testing.assert_close(seen.classes, counts[:, :1])
    torch.testing.assert_close(seen.counts, counts[:, 1:])
    assert Candidate(num_clusters=1, latent_dim=0).seen(rows) is rows
