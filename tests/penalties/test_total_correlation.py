"""The total correlation against brute force over all the data, and the weights of a batch against every batch."""

from __future__ import annotations

import itertools
import math

import jaxtyping
import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from lowerbound.penalties import TotalCorrelation
from lowerbound.penalties.total_correlation import stratified_weights
from lowerbound.testing import flat_gradient

SCALE = 0.3
TRUTH, STATED = 0.82, {"stratified": [0.53, 0.58, 0.76], "weighted": [1.81, 1.33, 0.94]}


def diagonal(loc, scale=SCALE):
    return Independent(Normal(loc, torch.full_like(loc, scale)), 1)


def means(num_data, dim, correlation, seed=7):
    """Locations such that the aggregate of all is N(0, C) for many data, C with ones on the diagonal."""
    g = torch.Generator().manual_seed(seed)
    c = torch.full((dim, dim), correlation, dtype=torch.float64).fill_diagonal_(1)
    factor = torch.linalg.cholesky(c - SCALE**2 * torch.eye(dim, dtype=torch.float64))
    return torch.randn(num_data, dim, generator=g, dtype=torch.float64) @ factor.mT, c


def weights(batch_size, num_data):
    return stratified_weights(torch.eye(batch_size, dtype=torch.float64), num_data)


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_a_batch_of_all_data_is_the_aggregate_itself(estimator):
    loc, _ = means(30, 3, 0.6)
    torch.manual_seed(0)
    got = TotalCorrelation(30, weight=2.0, estimator=estimator)(diagonal(loc), diagonal(loc[0]))
    torch.manual_seed(0)
    z = diagonal(loc).rsample()
    even = Categorical(torch.full((30,), 1 / 30, dtype=torch.float64))
    log_q = MixtureSameFamily(even, diagonal(loc)).log_prob(z)
    log_marginals = [MixtureSameFamily(even, Normal(loc[:, d], SCALE)).log_prob(z[:, d]) for d in range(3)]
    torch.testing.assert_close(got, 2 * (log_q - sum(log_marginals)).mean())


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_a_gaussian_aggregate(correlation):
    """½ (Σ log C_dd − log |C|), to the 0.05 nats that 1,500 data leave."""
    loc, c = means(1500, 2, correlation)
    torch.manual_seed(0)
    got = TotalCorrelation(1500, weight=1.0)(diagonal(loc), diagonal(loc[0]))
    assert float(got) == pytest.approx(float(-0.5 * torch.logdet(c)), abs=0.05)


@pytest.mark.parametrize("batch_size, num_data", [(2, 2), (2, 9), (5, 9), (9, 9), (64, 1000), (128, 90)])
def test_every_row_of_weights_sums_to_one(batch_size, num_data):
    w = weights(batch_size, num_data)
    torch.testing.assert_close(w.sum(1), torch.ones(batch_size, dtype=torch.float64))
    torch.testing.assert_close(w.diagonal(), torch.full((batch_size,), 1 / num_data, dtype=torch.float64))
    assert (w > 0).all()


def estimates(w_of, q_at_z, batch_size):
    """Σ_j W_1j q(z | x_j) for every ordered batch whose first row is datum 0."""
    others = itertools.permutations(range(1, len(q_at_z)), batch_size - 1)
    return torch.stack([w_of @ q_at_z[[0, *rest]] for rest in others])


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_stratified_weights_are_unbiased_for_the_density_over_every_batch_and_weighted_ones_are_not(batch_size):
    q_at_z = torch.tensor([5.0, 0.1, 2.0, 0.4, 1.3], dtype=torch.float64)
    truth = q_at_z.mean()
    torch.testing.assert_close(estimates(weights(batch_size, 5)[0], q_at_z, batch_size).mean(), truth)
    even = torch.full((batch_size,), 1 / batch_size, dtype=torch.float64)
    excess = estimates(even, q_at_z, batch_size).mean() / truth
    assert excess > 1.05 if batch_size < 5 else excess == pytest.approx(1)


@pytest.mark.parametrize("batch_size", [3, 4, 5])
def test_the_weights_of_the_paper_have_the_same_expectation_and_no_less_variance(batch_size):
    n, m = 5, batch_size - 1
    paper = torch.full((batch_size,), 1 / m, dtype=torch.float64)
    paper[0], paper[-1] = 1 / n, (n - m) / (n * m)
    ours = weights(batch_size, n)[0]
    over_places = torch.stack([torch.cat([paper[:1], paper[1:].roll(k)]) for k in range(m)])
    torch.testing.assert_close(over_places.mean(0), ours)
    q_at_z = torch.tensor([5.0, 0.1, 2.0, 0.4, 1.3], dtype=torch.float64)
    theirs, mine = (estimates(w, q_at_z, batch_size) for w in (paper, ours))
    torch.testing.assert_close(theirs.mean(), mine.mean())
    assert mine.var() <= theirs.var() + 1e-12


def test_the_weighted_estimator_of_the_paper_is_shifted_and_has_the_same_gradient():
    """Chen et al. (2018), eq. 5: weights 1/(N B)."""
    n, (start, _) = 40, means(8, 3, 0.6)
    loc = start.clone().requires_grad_()
    torch.manual_seed(0)
    ours = TotalCorrelation(n, weight=1.0, estimator="weighted")(diagonal(loc), diagonal(start[0]))
    torch.manual_seed(0)
    z = diagonal(loc).rsample()
    log_q = Normal(loc, SCALE).log_prob(z[:, None])
    log_nb = math.log(n * 8)
    log_joint = torch.logsumexp(log_q.sum(-1), 1) - log_nb
    paper = (log_joint - (torch.logsumexp(log_q, 1) - log_nb).sum(-1)).mean()
    torch.testing.assert_close(paper - ours, torch.tensor(2 * math.log(n), dtype=torch.float64))
    torch.testing.assert_close(flat_gradient(paper, [loc]), flat_gradient(ours, [loc]))


def mean_estimates(loc, batch_size, repeats):
    """The mean of each estimator over batches drawn without replacement."""
    torch.manual_seed(0)
    rows = [torch.randperm(len(loc))[:batch_size] for _ in range(repeats)]
    out = {}
    for estimator in ("stratified", "weighted"):
        penalty = TotalCorrelation(len(loc), weight=1.0, estimator=estimator)
        out[estimator] = float(torch.stack([penalty(diagonal(loc[r]), diagonal(loc[0])) for r in rows]).mean())
    return out


@pytest.mark.slow
def test_both_estimates_are_biased_and_less_so_the_larger_the_batch():
    """The figures that the module states."""
    loc, _ = means(512, 4, 0.5)
    truth = mean_estimates(loc, 512, 10)["stratified"]
    assert truth == pytest.approx(TRUTH, abs=0.05)
    for estimator, stated in STATED.items():
        got = [mean_estimates(loc, b, repeats)[estimator] for b, repeats in ((16, 300), (64, 80), (256, 20))]
        assert got == pytest.approx(stated, abs=0.05)
        errors = [abs(value - truth) for value in got]
        assert errors[2] < min(errors[:2])


def test_one_row_is_left_over_in_evaluation_and_refused_in_training():
    loc = torch.zeros(1, 2, requires_grad=True)
    for estimator in ("stratified", "weighted"):
        with torch.no_grad():
            assert TotalCorrelation(9, estimator=estimator)(diagonal(loc), diagonal(loc)) == 0
        with pytest.raises(ValueError, match="use batch_size ≥ 2"):
            TotalCorrelation(9, estimator=estimator)(diagonal(loc), diagonal(loc))


def test_refusals(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    full = MultivariateNormal(torch.zeros(3, 2), torch.eye(2))
    with pytest.raises(ValueError, match="factorised"):
        TotalCorrelation(9).check(full, full)
    discrete = Independent(Bernoulli(torch.full((3, 2), 0.5)), 1)
    with pytest.raises(ValueError, match="use DiagonalNormal, or a relaxed posterior"):
        TotalCorrelation(9).check(discrete, discrete)
    for options, words in [
        ({"num_data": 1}, "num_data=1"),
        ({"num_data": 9, "weight": -0.5}, "weight=-0.5"),
        ({"num_data": 9, "estimator": "exact"}, "choose 'stratified' or 'weighted'"),
    ]:
        with pytest.raises(ValueError, match=words):
            TotalCorrelation(**options)
