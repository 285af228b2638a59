"""Products taken apart sum to the whole; what is not a product says so."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, OneHotCategorical, kl_divergence

from lowerbound.factors import kl_per_factor, log_prob_per_factor


def products():
    normal = [Independent(Normal(torch.randn(5, 3), torch.rand(5, 3) + 0.5), 1) for _ in range(2)]
    binary = [Independent(Bernoulli(logits=torch.randn(5, 3)), 1) for _ in range(2)]
    one_hot = [Independent(OneHotCategorical(logits=torch.randn(5, 3, 4)), 1) for _ in range(2)]
    return [normal, binary, one_hot]


@pytest.mark.parametrize("kind", range(3))
def test_factors_sum_to_the_whole(kind):
    q, p = products()[kind]
    z = q.sample((7,))
    assert log_prob_per_factor(q, z).shape == (7, 5, 3)
    assert torch.allclose(log_prob_per_factor(q, z).sum(-1), q.log_prob(z), atol=1e-5)
    assert kl_per_factor(q, p).shape == (5, 3)
    assert torch.allclose(kl_per_factor(q, p).sum(-1), kl_divergence(q, p), atol=1e-5)


def test_refusals():
    full = MultivariateNormal(torch.zeros(2), torch.eye(2))
    with pytest.raises(ValueError, match="factorised prior and posterior"):
        log_prob_per_factor(full, torch.zeros(1, 1, 2))
    q = Independent(Normal(torch.zeros(1, 2), 1.0), 1)
    with pytest.raises(ValueError, match="no closed form"):
        kl_per_factor(q, Independent(Bernoulli(torch.full((2,), 0.5)), 1))
