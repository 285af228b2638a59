"""The Laplace likelihood against scipy and at its kink."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowerbound.likelihoods.laplace import Laplace


@settings(deadline=None)
@given(st.floats(-50, 50), st.floats(-1, 20), st.floats(-50, 50))
def test_log_prob_is_scipys(loc, raw, x):
    parameters = torch.tensor([[loc], [raw]], dtype=torch.float64)
    p = Laplace(torch.nn.Identity(), scale="heteroscedastic", event_shape=1)(parameters)
    expected = stats.laplace.logpdf(x, loc, float(p.base_dist.scale))
    assert float(p.log_prob(torch.tensor([x], dtype=torch.float64))) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_values_and_gradients_are_finite_at_the_kink_and_the_floor():
    parameters = torch.tensor([[0.0, 1e6, -1e6], [-500.0, 0.0, 500.0]], requires_grad=True)
    log_prob = Laplace(torch.nn.Identity(), scale="heteroscedastic", event_shape=3)(parameters).log_prob(torch.zeros(3))
    (gradient,) = torch.autograd.grad(log_prob, parameters)
    assert log_prob.isfinite()
    assert gradient.isfinite().all()
