"""The Beta likelihood against scipy, at the corners and at extreme concentrations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowerbound.likelihoods.beta import Beta, BetaDistribution
from lowerbound.nets import MLP


@settings(deadline=None)
@given(st.floats(1e-3, 1 - 1e-3), st.floats(0.01, 1e6), st.floats(1e-4, 1 - 1e-4))
def test_log_prob_is_scipys(mean, concentration, x):
    p = BetaDistribution(*(torch.tensor(v, dtype=torch.float64) for v in (mean, concentration)))
    expected = stats.beta.logpdf(x, mean * concentration, (1 - mean) * concentration)
    assert float(p.log_prob(torch.tensor(x, dtype=torch.float64))) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_mean_variance_and_entropy_are_scipys():
    m, n = np.array([0.1, 0.5, 0.7]), np.array([0.5, 2.0, 40.0])
    p, q = BetaDistribution(torch.from_numpy(m), torch.from_numpy(n)), stats.beta(m * n, (1 - m) * n)
    np.testing.assert_allclose(p.mean, q.mean(), rtol=1e-12)
    np.testing.assert_allclose(p.variance, q.var(), rtol=1e-12)
    np.testing.assert_allclose(p.entropy(), q.entropy(), rtol=1e-9)


def test_values_outside_epsilon_are_scored_at_epsilon():
    p = BetaDistribution(torch.tensor(0.3), torch.tensor(0.5), epsilon=1e-2)
    x = torch.tensor([0.0, 1e-3, 1e-2, 0.99, 0.999, 1.0])
    low, high = p.log_prob(x).split(3)
    assert (low == low[0]).all()
    torch.testing.assert_close(high, high[:1].expand(3))


def test_single_precision_survives_a_concentration_of_a_million():
    """Computed as α log x + β log(1 − x) − log B it would be off by about one nat."""
    m, n = torch.tensor([0.3, 0.5, 0.9]), torch.tensor(1e6)
    x = m + 1e-3
    single = BetaDistribution(m, n).log_prob(x)
    double = BetaDistribution(m.double(), n.double()).log_prob(x.double())
    torch.testing.assert_close(single.double(), double, rtol=0, atol=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_at_the_corners(dtype):
    edges = torch.tensor([-200.0, -5, 0, 5, 200], dtype=dtype)
    raw = torch.stack([edges.repeat_interleave(5), edges.repeat(5)]).requires_grad_()
    likelihood = Beta(torch.nn.Identity(), event_shape=25)
    p = likelihood(raw)
    x = torch.tensor([0, 1e-6, 0.5, 1 - 1e-6, 1], dtype=dtype)[:, None].expand(5, 25)
    log_prob = p.log_prob(x)
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


def test_initialize_matches_the_mean_of_the_data():
    x = torch.tensor([[0.1, 0.8], [0.3, 1.0]])
    likelihood = Beta(MLP(2, [], (2, 2)))
    likelihood.initialize(x)
    torch.testing.assert_close(likelihood(torch.zeros(2)).mean, x.mean(0), rtol=1e-3, atol=1e-3)


def test_refuses_an_epsilon_of_zero_and_a_net_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"epsilon=0.*\(0, 0\.5\)"):
        Beta(MLP(2, [], (2, 3)), epsilon=0.0)
    with pytest.raises(ValueError, match=r"Beta got a net of output shape \(3,\) and expected \(2, \*event_shape\)"):
        Beta(MLP(2, [], 3))
