"""Properties that hold for any weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowerbound.exact import EnumerableBernoulli
from lowerbound.objectives import ELBO, IWAE
from lowerbound.weights import LogWeights

BOTH = pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=str)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31), st.floats(0.01, 300.0))


def signals(size):
    samples, batch, seed, spread = size
    g = torch.Generator().manual_seed(seed)
    return spread * torch.randn(samples, batch, generator=g, dtype=torch.float64)


@BOTH
@given(size=SIZES, shift=st.floats(-1e4, 1e4))
def test_shifting_the_weights_shifts_the_bound(objective, size, shift):
    f = signals(size)
    assert torch.allclose(objective.reduce(f + shift), objective.reduce(f) + shift, rtol=1e-9, atol=1e-7)


@BOTH
@given(size=SIZES)
def test_the_order_of_samples_is_immaterial(objective, size):
    f = signals(size)
    order = torch.randperm(f.shape[0])
    assert torch.allclose(objective.reduce(f[order]), objective.reduce(f))


@given(size=SIZES)
def test_iwae_of_one_sample_is_the_elbo(size):
    f = signals(size)[:1]
    assert torch.allclose(IWAE().reduce(f), ELBO().reduce(f))


@given(size=SIZES)
def test_iwae_lies_between_the_mean_and_the_largest_weight(size):
    """Jensen from below; Σ w̃ log w, which some report in its place, can lie above neither limit's log-mean."""
    f = signals(size)
    value = IWAE().reduce(f)
    assert (value >= ELBO().reduce(f) - 1e-9).all()
    assert (value <= f.max(0).values + 1e-9).all()
    surrogate = (torch.softmax(f, 0) * f).sum(0)
    assert (value <= surrogate + 1e-9).all()


@BOTH
def test_equal_weights_are_the_bound(objective):
    """A bound that is tight where q is the posterior, for any number of samples."""
    assert torch.allclose(objective.reduce(torch.full((7, 2), -3.0)), torch.tensor(-3.0))


def test_extreme_weights_do_not_overflow():
    f = torch.tensor([[1e4], [-1e4]])
    assert math.isclose(IWAE().reduce(f).item(), 1e4 - math.log(2), rel_tol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_iwae_rises_with_samples_and_never_exceeds_the_evidence(seed):
    exact = EnumerableBernoulli.random(3, 4, seed=seed)
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    values = torch.stack([exact.elbo(x), *(exact.iwae(x, k) for k in range(2, 6)), exact.log_evidence(x)])
    assert (values.diff(dim=0) >= -1e-12).all()


@pytest.mark.parametrize("rate", ["kl", "entropy"])
def test_iwae_refuses_closed_forms(rate):
    with pytest.raises(ValueError, match="use ELBO"):
        IWAE(rate=rate)
    zeros = torch.zeros(2, 1)
    w = LogWeights(log_likelihood=zeros, log_prior=zeros, log_q=zeros, z=zeros, form=rate)
    with pytest.raises(ValueError, match="use ELBO"):
        IWAE().signal(w)
