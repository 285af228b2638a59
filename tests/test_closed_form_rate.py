"""Which form of the rate a pair has, and the KL of full and low-rank Gaussians to a product of Gaussians."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal, FullNormal, LowRankNormal
from lowerbound.priors import MixtureNormal, StandardNormal
from lowerbound.weights import closed_form_rate, weigh


def family(name: str, latent_dim: int = 3) -> torch.nn.Module:
    cls = {"diagonal": DiagonalNormal, "full": FullNormal, "low-rank": LowRankNormal}[name]
    torch.manual_seed(0)
    return cls(MLP(2, [8], cls.parameter_shape(latent_dim)), latent_shape=latent_dim).double()


def joint_of(p):
    class Joint:
        prior, x = p, torch.zeros(5, 1)

        def __call__(self, z):
            return torch.zeros(z.shape[:2], dtype=z.dtype), p.log_prob(z)

    return Joint()


@pytest.mark.parametrize("name", ["full", "low-rank"])
def test_the_rate_is_the_divergence_of_torch(name: str) -> None:
    q = family(name)(3 * torch.randn(5, 2).double())
    loc, scale = torch.randn(3).double(), torch.rand(3).double() + 0.5
    p = Independent(Normal(loc, scale), 1)
    w = weigh(q, joint_of(p), q.rsample((2,)), rate="kl")
    dense = MultivariateNormal(q.mean, q.covariance_matrix)
    expected = kl_divergence(dense, MultivariateNormal(loc, torch.diag(scale**2)).expand((5,)))
    torch.testing.assert_close(w.rate, expected.expand(2, 5))


@pytest.mark.parametrize("name", ["diagonal", "full", "low-rank"])
def test_gaussians_have_a_closed_form_to_a_gaussian_and_none_to_a_mixture(name: str) -> None:
    q = family(name)(torch.randn(5, 2).double())
    z = q.rsample((1,))
    assert closed_form_rate(q, StandardNormal(3).double()(), z) == "kl"
    assert closed_form_rate(q, MixtureNormal(3, components=2).double()(), z) == "sampled"
