"""The Poisson likelihood against scipy, from rates of 1e-6 to counts in the millions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowerbound.likelihoods.poisson import Poisson, PoissonDistribution
from lowerbound.nets import MLP


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 10**6))
def test_log_prob_is_scipys(rate, x):
    got = float(PoissonDistribution(torch.tensor(rate, dtype=torch.float64)).log_prob(torch.tensor(float(x))))
    assert got == pytest.approx(stats.poisson.logpmf(x, rate), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("rate", [1e-6, 0.3, 9.0, 80.0])
def test_counts_sum_to_one(rate):
    x = torch.arange(400, dtype=torch.float64)
    assert float(PoissonDistribution(torch.tensor(rate, dtype=torch.float64)).log_prob(x).exp().sum()) == pytest.approx(
        1
    )


def test_single_precision_survives_counts_of_a_million():
    """Computed as x log λ − λ − log x! it would be off by about one nat."""
    rate, x = torch.tensor([1e6, 1.001e6]), torch.tensor(1e6)
    single = PoissonDistribution(rate).log_prob(x).double()
    torch.testing.assert_close(single, PoissonDistribution(rate.double()).log_prob(x.double()), rtol=0, atol=1e-3)


def test_the_score_is_x_over_rate_minus_one():
    rate = torch.tensor([0.01, 0.5, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.0, 1.0, 7.0, 30.0], dtype=torch.float64)
    (score,) = torch.autograd.grad(PoissonDistribution(rate).log_prob(x).sum(), rate)
    torch.testing.assert_close(score, (x / rate - 1).detach())


def test_values_and_gradients_are_finite_at_extreme_outputs():
    raw = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], requires_grad=True)
    log_prob = Poisson(torch.nn.Identity(), event_shape=5)(raw).log_prob(torch.tensor([0.0, 1.0, 1e6])[:, None])
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


def test_initialize_matches_the_mean_counts():
    likelihood = Poisson(MLP(2, [], 3))
    likelihood.initialize(torch.tensor([[0, 3, 1000], [0, 4, 3000]]))
    torch.testing.assert_close(likelihood(torch.zeros(2)).mean, torch.tensor([0.01, 3.5, 2000.0]), rtol=1e-4, atol=1e-5)
