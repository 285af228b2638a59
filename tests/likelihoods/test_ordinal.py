"""The cumulative logit against differences of sigmoids, and far from its cut points."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.likelihoods.ordinal import cut_points, ordinal_log_probs


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(-4, 4))
def test_classes_are_differences_of_the_cumulative_logit(raw, loc):
    cuts = cut_points(torch.tensor(raw, dtype=torch.float64))
    below = torch.sigmoid(cuts - loc)
    cumulative = torch.cat([torch.zeros(1), below, torch.ones(1)])
    got = ordinal_log_probs(torch.tensor(loc, dtype=torch.float64), cuts).exp()
    torch.testing.assert_close(got, cumulative.diff(), rtol=1e-7, atol=1e-12)


def test_cut_points_increase_whatever_the_parameters():
    cuts = cut_points(torch.tensor([3.0, -100.0, 0.0, 50.0]))
    assert (cuts.diff() > 0).all()
    assert float(cuts[0]) == 3.0


@pytest.mark.parametrize("loc", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_values_and_gradients_are_finite_far_from_the_cuts(loc):
    mu, raw = torch.tensor(loc, requires_grad=True), torch.tensor([-200.0, -200.0, 3.0], requires_grad=True)
    log_probs = ordinal_log_probs(mu, cut_points(raw))
    assert log_probs.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_probs.sum(), [mu, raw]))
