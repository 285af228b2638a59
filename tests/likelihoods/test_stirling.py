"""Stirling's remainder and logarithms of ratios, against scipy and many digits."""

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.likelihoods.stirling import log_ratio, stirling_remainder


@pytest.mark.parametrize("a", [1e-8, 1e-3, 0.5, 1.0, 9.999, 10.0, 10.001, 37.0, 1e4, 1e12])
def test_remainder_completes_log_gamma(a):
    with mpmath.workdps(50):
        t = mpmath.mpf(a)
        expected = float(mpmath.loggamma(t) - (t - 0.5) * mpmath.log(t) + t - mpmath.log(2 * mpmath.pi) / 2)
    assert float(stirling_remainder(torch.tensor(a, dtype=torch.float64))) == pytest.approx(
        expected, rel=1e-9, abs=1e-13
    )


@pytest.mark.parametrize("a", [1e-6, 0.3, 9.9, 10.1, 1e5])
def test_remainder_differentiates_to_its_digamma(a):
    t = torch.tensor(a, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(stirling_remainder(t), t)
    with mpmath.workdps(50):
        expected = float(mpmath.digamma(a) - mpmath.log(a) + 1 / (2 * mpmath.mpf(a)))
    assert float(slope) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_log_ratio_is_the_difference_of_logs_and_differentiates(a, b):
    s, t = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b))
    value = log_ratio(s, t, s - t)
    by_a, by_b = torch.autograd.grad(value, [s, t])
    with mpmath.workdps(40):
        expected = float(mpmath.log(mpmath.mpf(a) / mpmath.mpf(b)))
    assert float(value.detach()) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert float(by_a) == pytest.approx(1 / a, rel=1e-6)
    assert float(by_b) == pytest.approx(-1 / b, rel=1e-6)
