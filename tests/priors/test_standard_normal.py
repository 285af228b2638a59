"""p(z) = N(0, I)."""

from __future__ import annotations

import torch
from scipy import stats

from lowerbound.priors import StandardNormal
from lowerbound.testing import check_conditional


def test_density_is_that_of_scipy():
    z = torch.randn(5, 3, dtype=torch.float64)
    expected = stats.multivariate_normal(cov=torch.eye(3).numpy()).logpdf(z.numpy())
    assert torch.allclose(StandardNormal(3).double()().log_prob(z), torch.from_numpy(expected))


def test_conforms_and_has_nothing_to_learn_or_save():
    prior = StandardNormal(3).double()
    check_conditional(prior)
    assert not list(prior.parameters())
    assert not prior.state_dict()


def test_a_context_is_ignored():
    prior = StandardNormal(3)
    assert prior(torch.ones(4, 2)).batch_shape == ()
    check_conditional(prior, torch.ones(4, 2))
