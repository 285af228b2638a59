"""Zero-inflated counts against the formula in probabilities, and where those underflow."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.poisson import PoissonDistribution
from lowerbound.likelihoods.zero_inflated import (
    ZeroInflatedDistribution,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from lowerbound.nets import MLP

FAMILIES = [ZeroInflatedPoisson, ZeroInflatedNegativeBinomial]


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@settings(deadline=None)
@given(st.floats(-30, 30), st.floats(0.01, 60), st.floats(0.05, 50), st.integers(0, 40))
def test_log_prob_is_the_mixture(gate, mean, r, x):
    pi = 1 / (1 + np.exp(-gate))
    cases = [
        (PoissonDistribution(double(mean)), stats.poisson(mean)),
        (NegativeBinomialDistribution(double(mean), double(r)), stats.nbinom(r, r / (r + mean))),
    ]
    for counts, oracle in cases:
        expected = np.log(pi * (x == 0) + 1 / (1 + np.exp(gate)) * oracle.pmf(x))
        got = ZeroInflatedDistribution(double(gate), counts).log_prob(double(float(x)))
        assert float(got) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_moments_are_sums_over_the_counts():
    x = torch.arange(3000, dtype=torch.float64)
    p = ZeroInflatedDistribution(double(-0.4), NegativeBinomialDistribution(double(6.0), double(0.8)))
    probs = p.log_prob(x).exp()
    assert float(probs.sum()) == pytest.approx(1)
    assert float(p.mean) == pytest.approx(float((probs * x).sum()))
    assert float(p.variance) == pytest.approx(float((probs * (x - p.mean) ** 2).sum()))


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_are_finite_at_extreme_outputs(family):
    edges = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])
    raw = torch.stack([edges.repeat_interleave(5), edges.repeat(5)]).requires_grad_()
    log_prob = family(torch.nn.Identity(), event_shape=25)(raw).log_prob(
        torch.tensor([0.0, 1, 1e6])[:, None].expand(3, 25)
    )
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_initialize_matches_the_mean_counts(family):
    likelihood = family(MLP(2, [], (2, 2)))
    likelihood.initialize(torch.tensor([[0.0, 3], [2, 4]]))
    torch.testing.assert_close(likelihood(torch.zeros(2)).mean, torch.tensor([1.0, 3.5]), rtol=1e-4, atol=1e-5)


def test_the_dispersion_is_learned():
    likelihood = ZeroInflatedNegativeBinomial(MLP(2, [], (2, 3)))
    likelihood(torch.zeros(5, 2)).log_prob(torch.full((5, 3), 4.0)).sum().backward()
    assert likelihood.raw_inverse_dispersion.shape == (3,)
    assert (likelihood.raw_inverse_dispersion.grad != 0).all()
