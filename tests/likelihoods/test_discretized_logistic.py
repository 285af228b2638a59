"""The discretized logistic against differences of sigmoids in sixty digits, and against summation over its levels."""

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.likelihoods.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticDistribution
from lowerbound.nets import MLP

LEVELS = torch.arange(256, dtype=torch.float64) / 255


def p_of(loc: float, scale: float, num_levels: int = 256, dtype=torch.float64) -> DiscretizedLogisticDistribution:
    return DiscretizedLogisticDistribution(
        torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype), num_levels=num_levels
    )


def exact_log_prob(k: int, loc: float, scale: float, num_levels: int) -> float:
    with mpmath.workdps(60):
        top = num_levels - 1

        def below(end):
            return 1 / (1 + mpmath.exp(-(end - mpmath.mpf(loc)) / mpmath.mpf(scale)))

        centre, half = mpmath.mpf(2 * k) / top - 1, mpmath.mpf(1) / top
        high = mpmath.mpf(1) if k == top else below(centre + half)
        low = mpmath.mpf(0) if k == 0 else below(centre - half)
        return float(mpmath.log(high - low))


@settings(deadline=None)
@given(st.integers(0, 255), st.floats(-1.5, 1.5), st.floats(0.03, 50))
def test_log_prob_is_the_difference_of_sigmoids(k, loc, scale):
    got = float(p_of(loc, scale).log_prob(torch.tensor(k / 255, dtype=torch.float64)))
    assert got == pytest.approx(exact_log_prob(k, loc, scale, 256), rel=1e-9)


@pytest.mark.parametrize("num_levels", [2, 3, 32])
@pytest.mark.parametrize("scale", [0.02, 0.7])
def test_log_prob_at_other_numbers_of_levels(num_levels, scale):
    for k in range(num_levels):
        x = torch.tensor(k / (num_levels - 1), dtype=torch.float64)
        got = float(p_of(0.2, scale, num_levels).log_prob(x))
        assert got == pytest.approx(exact_log_prob(k, 0.2, scale, num_levels), rel=1e-9)


@pytest.mark.parametrize("loc", [-3.0, -1.0, -0.37, 0.0, 0.99, 1.0, 7.0])
@pytest.mark.parametrize("scale", [1e-8, 1e-3, 0.004, 0.1, 1.0, 1e3, 1e6])
def test_levels_sum_to_one(loc, scale):
    assert float(p_of(loc, scale).log_prob(LEVELS).exp().sum()) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("loc, scale", [(-2.0, 0.1), (0.3, 1e-3), (0.3, 0.05), (0.0, 3.0)])
def test_moments_are_sums_over_the_levels(loc, scale):
    p = p_of(loc, scale)
    probs = p.log_prob(LEVELS).exp()
    mean = (probs * LEVELS).sum()
    torch.testing.assert_close(p.mean, mean, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(p.variance, (probs * (LEVELS - mean) ** 2).sum(), rtol=1e-6, atol=1e-10)


def test_values_and_gradients_are_finite_for_tiny_scales_and_edge_levels():
    loc = torch.tensor([-5.0, -1, 0, 1, 5], requires_grad=True)
    scale = torch.tensor([1e-10, 1e-4, 1, 1e6])[:, None].requires_grad_()
    x = torch.tensor([0, 1 / 255, 0.5, 254 / 255, 1])[:, None, None]
    log_prob = DiscretizedLogisticDistribution(loc, scale).log_prob(x)
    assert log_prob.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), [loc, scale]))


def test_the_gradient_points_to_the_datum_however_far():
    """Implementations that clamp the probability lose this gradient in the tails."""
    loc = torch.tensor([-4.0, 4.0], requires_grad=True)
    p = DiscretizedLogisticDistribution(loc, torch.tensor(1e-3))
    (gradient,) = torch.autograd.grad(p.log_prob(torch.tensor(0.5)).sum(), loc)
    torch.testing.assert_close(gradient, torch.tensor([1000.0, -1000.0]))


def test_intensities_within_a_bin_are_read_as_its_level():
    p, x = p_of(0.1, 0.05), LEVELS[1:-1]
    assert torch.equal(p.log_prob(x + 0.49 / 255), p.log_prob(x))
    torch.testing.assert_close(p.log_prob(x.float().double()), p.log_prob(x))


def test_initialize_puts_the_location_at_the_mean():
    x = torch.tensor([[0.2, 0.5], [0.4, 0.7]])
    likelihood = DiscretizedLogistic(MLP(2, [], (2, 2)))
    likelihood.initialize(x)
    torch.testing.assert_close(likelihood(torch.zeros(2)).base_dist.loc, torch.tensor([-0.4, 0.2]))


def test_refuses_one_level():
    with pytest.raises(ValueError, match="num_levels=1"):
        DiscretizedLogistic(MLP(2, [], (2, 2)), num_levels=1)
