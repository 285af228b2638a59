"""The continuous Bernoulli against numerical integration and its exponential-family identities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from lowerbound.likelihoods.continuous_bernoulli import ContinuousBernoulli, ContinuousBernoulliDistribution
from lowerbound.nets import MLP

LOGITS = [-300.0, -13.8, -1.0 - 1e-9, -1.0 + 1e-9, -9e-3, -1e-7, 0.0, 1e-12, 1e-4, 0.3, 0.999, 1.001, 5.0, 13.8, 60.0]


def p_of(logit: float) -> ContinuousBernoulliDistribution:
    return ContinuousBernoulliDistribution(torch.tensor(logit, dtype=torch.float64))


def integral(logit: float, weight) -> float:
    """∫ weight(x) p(x) dx, split where a steep density has its mass."""
    p = p_of(logit)

    def f(x: float) -> float:
        t = torch.tensor(x, dtype=torch.float64)
        return float(p.log_prob(t).exp()) * weight(x)

    near = min(0.5, 20 / max(abs(logit), 1.0))
    cut = near if logit < 0 else 1 - near
    return quad(f, 0, cut, epsabs=1e-13)[0] + quad(f, cut, 1, epsabs=1e-13)[0]


@pytest.mark.parametrize("logit", LOGITS)
def test_density_integrates_to_one_and_to_its_moments(logit):
    p = p_of(logit)
    mean = integral(logit, lambda x: x)
    assert integral(logit, lambda x: 1.0) == pytest.approx(1, rel=1e-9)
    assert float(p.mean) == pytest.approx(mean, rel=1e-8)
    assert float(p.variance) == pytest.approx(integral(logit, lambda x: (x - mean) ** 2), rel=1e-7)


@pytest.mark.parametrize("logit", LOGITS)
def test_entropy_is_the_expected_surprise(logit):
    p = p_of(logit)
    surprise = integral(logit, lambda x: -float(p.log_prob(torch.tensor(x, dtype=torch.float64))))
    assert float(p.entropy()) == pytest.approx(surprise, rel=1e-7, abs=1e-10)


@pytest.mark.parametrize("logit", [-8.0, -0.7, 0.4, 3.0, 12.0])
def test_density_is_the_published_formula(logit):
    x = np.linspace(1e-6, 1 - 1e-6, 11)
    rate = 1 / (1 + np.exp(-logit))
    constant = 2 * np.arctanh(1 - 2 * rate) / (1 - 2 * rate)
    expected = np.log(constant) + x * np.log(rate) + (1 - x) * np.log1p(-rate)
    np.testing.assert_allclose(p_of(logit).log_prob(torch.from_numpy(x)), expected, rtol=1e-6)


@settings(deadline=None)
@given(st.floats(-500, 500), st.floats(0, 1))
def test_the_score_is_x_minus_the_mean(logit, x):
    eta = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    p = ContinuousBernoulliDistribution(eta)
    (score,) = torch.autograd.grad(p.log_prob(torch.tensor(x, dtype=torch.float64)), eta)
    assert float(score) == pytest.approx(x - float(p.mean.detach()), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("logit", LOGITS)
def test_icdf_inverts_the_cdf(logit):
    p, u = p_of(logit), torch.linspace(0.02, 0.98, 13, dtype=torch.float64)
    torch.testing.assert_close(p.cdf(p.icdf(u)), u, rtol=0, atol=1e-9)
    assert float(p.cdf(torch.tensor(0.3, dtype=torch.float64))) == pytest.approx(
        quad(lambda x: float(p.log_prob(torch.tensor(x, dtype=torch.float64)).exp()), 0, 0.3)[0], rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("logit", [-40.0, -0.5, -0.011, -0.009, 0.0, 0.0099, 0.0101, 2.0])
def test_draws_differentiate_along_the_quantile(logit):
    """dx/dη at fixed u is −∂F(x; η)/∂η / p(x); here by central differences of the inverse CDF in double precision."""
    u, h = torch.tensor(0.37, dtype=torch.float64), 1e-5
    eta = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ContinuousBernoulliDistribution(eta).icdf(u), eta)
    numeric = (p_of(logit + h).icdf(u) - p_of(logit - h).icdf(u)) / (2 * h)
    assert float(slope) == pytest.approx(float(numeric), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_at_every_edge(dtype):
    logits = torch.tensor([-1e4, -100, -30, -1, -1e-6, 0, 1e-6, 1, 30, 100, 1e4], dtype=dtype, requires_grad=True)
    x = torch.tensor([0, 1e-6, 0.5, 1 - 1e-6, 1], dtype=dtype)[:, None]
    p = ContinuousBernoulliDistribution(logits)
    u = torch.tensor([0, 0.5, 1], dtype=dtype)[:, None]
    for value in (p.log_prob(x), p.mean, p.variance, p.entropy(), p.icdf(u)):
        assert value.isfinite().all()
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert gradient.isfinite().all() or value.shape == (
            3,
            11,
        )  # the slope of a quantile at u = 0 or 1 may not exist
    assert ((p.icdf(u) >= 0) & (p.icdf(u) <= 1)).all()


def test_single_precision_keeps_its_digits_near_one_half():
    logits = torch.tensor([1e-5, 1e-3, 0.02, 0.99, 1.01])
    x = torch.tensor(1 - 1e-6)
    single = ContinuousBernoulliDistribution(logits).log_prob(x)
    double = ContinuousBernoulliDistribution(logits.double()).log_prob(x.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=3e-7)


def test_initialize_matches_the_mean_of_the_data():
    x = torch.tensor([[0.0, 0.5, 0.9], [0.2, 0.5, 0.8], [0.1, 0.5, 1.0]])
    likelihood = ContinuousBernoulli(MLP(2, [], 3))
    likelihood.initialize(x)
    at_zero = likelihood(torch.zeros(1, 2)).mean[0]
    torch.testing.assert_close(at_zero, x.mean(0), rtol=1e-4, atol=1e-4)
    likelihood.initialize(torch.zeros(4, 3))
    torch.testing.assert_close(likelihood(torch.zeros(2)).mean, torch.full((3,), 0.05), rtol=1e-3, atol=1e-4)
