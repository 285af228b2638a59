"""Small counts: a table with a tail is a distribution, and its parts agree with sums over the counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowerbound.likelihoods import Mixed
from lowerbound.likelihoods.columns import SmallCountColumns
from lowerbound.likelihoods.count_table import CountTableDistribution
from lowerbound.nets import MLP

COUNTS = torch.arange(60, dtype=torch.float64)


@pytest.fixture
def p() -> CountTableDistribution:
    return CountTableDistribution(torch.randn(3, 5, dtype=torch.float64, generator=torch.manual_seed(0)))


def test_it_is_the_table_and_then_halves(p: CountTableDistribution) -> None:
    table, got = p.log_probs.exp(), p.log_prob(COUNTS[:, None]).exp()
    torch.testing.assert_close(got[:4].mT, table[:, :4])
    torch.testing.assert_close(got[4:7].mT, table[:, 4:] * torch.tensor([0.5, 0.25, 0.125]).double())
    torch.testing.assert_close(got.sum(0), torch.ones(3).double())
    assert bool(p.log_prob(torch.tensor([-1.0])).isneginf().all())
    assert bool(p.log_prob(torch.tensor([torch.nan])).isnan().all())


def test_moments_and_distribution_function_are_sums_over_counts(p: CountTableDistribution) -> None:
    each = p.log_prob(COUNTS[:, None]).exp()
    torch.testing.assert_close(p.mean, (each * COUNTS[:, None]).sum(0))
    torch.testing.assert_close(p.variance, (each * (COUNTS[:, None] - p.mean).square()).sum(0))
    function, parameters = p.cumulative()
    below = np.stack([function(np.full(3, k), *[t.numpy() for t in parameters]) for k in COUNTS.numpy()])
    np.testing.assert_allclose(below, each.cumsum(0).numpy(), atol=1e-12)


def test_a_column_of_small_counts_starts_at_its_frequencies() -> None:
    x = torch.tensor([[1.0], [1.0], [2.0], [float("nan")], [5.0]])
    likelihood = Mixed(MLP(2, [3], (4,)), "small-count-3")
    likelihood.initialize(x)
    expected = (torch.tensor([0.0, 2.0, 1.0, 1.0]) + 1 / 4) / 5
    torch.testing.assert_close(SmallCountColumns(1, 3).start(x).exp()[0], expected)
    assert bool(likelihood(torch.zeros(2)).log_prob(torch.tensor([[9.0]])).isfinite().all())
