"""Stochastic variational inference against the exact posterior of the offset, which is Gaussian."""

from __future__ import annotations

import pytest
import torch

from lowerbound.exact import LinearGaussian
from lowerbound.inference import StochasticOffset

NUM_DATA, PRIOR_SCALE = 60, 2.0


def case():
    """The model with an offset of 0 to start from, data whose offset is another, and p(b | x_1, …, x_N)."""
    exact = LinearGaussian.random(3, 1, seed=2)
    x = exact.sample(NUM_DATA)
    eye = torch.eye(3, dtype=torch.float64)
    covariance = exact.weight @ exact.weight.mT + torch.diag(exact.scale**2)
    precision = eye / PRIOR_SCALE**2 + NUM_DATA * torch.linalg.inv(covariance)
    mean = torch.linalg.solve(precision, torch.linalg.solve(covariance, x.sum(0)))
    start = LinearGaussian(exact.weight, torch.zeros_like(exact.offset), exact.scale)
    joint = torch.kron(torch.eye(NUM_DATA, dtype=torch.float64), covariance) + PRIOR_SCALE**2 * torch.kron(
        torch.ones(NUM_DATA, NUM_DATA, dtype=torch.float64), eye
    )
    zero = torch.zeros(3 * NUM_DATA, dtype=torch.float64)
    log_evidence = torch.distributions.MultivariateNormal(zero, joint).log_prob(x.flatten())
    return start, x, mean, torch.linalg.inv(precision), log_evidence


def test_whole_batches_are_coordinate_ascent_to_the_exact_mean():
    start, x, mean, covariance, log_evidence = case()
    offset = StochasticOffset(start, NUM_DATA, prior_scale=PRIOR_SCALE, forgetting=0)
    bounds = []
    for _ in range(200):
        offset.update(x)
        bounds.append(offset.elbo(x))
    bounds = torch.stack(bounds)
    assert (bounds.diff() > -1e-9).all()
    assert bounds[-1] - bounds[0] > 1
    assert torch.allclose(offset.posterior.mean, mean, atol=1e-5)
    assert (offset.posterior.variance < covariance.diagonal()).all()
    assert 0 < log_evidence - bounds[-1] < 3


def test_batches_come_near_it():
    """N/M scales what a batch says about all data; without it q(b) would be as wide as if it were all there is."""
    start, x, mean, _, _ = case()
    offset = StochasticOffset(start, NUM_DATA, prior_scale=PRIOR_SCALE, forgetting=0.6, delay=2)
    whole = StochasticOffset(start, NUM_DATA, prior_scale=PRIOR_SCALE, forgetting=0)
    whole.update(x)
    for _ in range(1500):
        offset.update(x[torch.randperm(NUM_DATA)[:10]])
    assert torch.allclose(offset.posterior.mean, mean, atol=0.1)
    assert (start.offset - mean).abs().max() > 0.5
    assert torch.allclose(offset.posterior.stddev, whole.posterior.stddev, rtol=1e-6)


def test_a_step_of_a_batch_is_unbiased_for_that_of_all_data():
    start, x, _, _, _ = case()
    whole = StochasticOffset(start, NUM_DATA, prior_scale=PRIOR_SCALE, forgetting=0)
    whole.update(x)
    means = []
    for part in x.split(10):
        offset = StochasticOffset(start, NUM_DATA, prior_scale=PRIOR_SCALE, forgetting=0)
        offset.update(part)
        means.append(offset.posterior.mean)
    assert torch.allclose(torch.stack(means).mean(0), whole.posterior.mean)


def test_steps_that_do_not_shorten_as_they_must_are_refused():
    with pytest.raises(ValueError, match=r"choose it in \(0.5, 1\]"):
        StochasticOffset(case()[0], NUM_DATA, forgetting=0.3)
