"""The low-rank Gaussian against torch's, against the exact posterior, and in float32 where squaring would fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, kl_divergence

from lowerbound.exact import LinearGaussian
from lowerbound.nets import MLP
from lowerbound.posteriors.low_rank_normal import LowRankNormal, LowRankNormalDistribution
from lowerbound.testing import check_conditional


def random(rank: int, batch: int = 3, dim: int = 5) -> LowRankNormalDistribution:
    scale = torch.rand(batch, dim, dtype=torch.float64) + 0.2
    factors = torch.randn(batch, dim, rank, dtype=torch.float64)
    return LowRankNormalDistribution(torch.randn(batch, dim, dtype=torch.float64), scale, factors)


@pytest.mark.parametrize("rank", [1, 2, 7])
def test_density_entropy_and_variance_are_torchs(rank: int) -> None:
    q = random(rank)
    v = q.scale.unsqueeze(-1) * q.factors
    oracle = LowRankMultivariateNormal(q.loc, v, q.scale.square())
    z = q.rsample((4,))
    torch.testing.assert_close(q.log_prob(z), oracle.log_prob(z), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(q.entropy(), oracle.entropy(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(q.variance, oracle.variance, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(q.covariance_matrix, oracle.covariance_matrix, rtol=1e-10, atol=1e-10)


def test_draws_have_the_covariance_they_are_scored_with() -> None:
    q = random(2, batch=1, dim=3)
    z = q.rsample((200_000,))[:, 0]
    tolerance = 8 * q.variance.max() / 200_000**0.5
    assert (z.T.cov() - q.covariance_matrix[0]).abs().max() < tolerance
    assert (z.mean(0) - q.mean[0]).abs().max() < tolerance


def test_conforms() -> None:
    q = LowRankNormal(MLP(5, [7], LowRankNormal.parameter_shape(4, rank=2))).double()
    check_conditional(q, torch.randn(6, 5, dtype=torch.float64))


@pytest.mark.slow
def test_rank_two_reaches_the_correlated_posterior_of_three_latents() -> None:
    """Every 3 × 3 covariance is diagonal plus rank 2. The factors start alike for all x: U and −U are the same q, and
    a linear map that starts with different signs at different x would have to pass through U = 0."""
    exact = LinearGaussian.random(4, 3, seed=2)
    x = exact.sample(40)
    assert (exact.log_evidence(x) - exact.optimal_elbo(x)).min() > 0.1
    net = MLP(4, [], LowRankNormal.parameter_shape(3, rank=2))
    nn.init.zeros_(net.layers[0].weight)
    q = LowRankNormal(net, rank=2).double()
    optimizer = torch.optim.LBFGS(q.parameters(), max_iter=600, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        z = q(x)
        loss = -exact.elbo(x, z.loc, covariance=z.covariance_matrix).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    normal = MultivariateNormal(q(x).loc, q(x).covariance_matrix)
    assert kl_divergence(normal, exact.posterior(x)).mean() < 1e-3


def test_float32_density_holds_for_large_nearly_parallel_factors(constant_net: Callable[..., nn.Module]) -> None:
    direction = torch.randn(6)
    factors = 300 * torch.stack([direction, direction + 1e-3 * torch.randn(6)])
    net = constant_net(torch.cat([torch.zeros(2, 6), factors]))
    q = LowRankNormal(net)(torch.zeros(1, 1))
    z = q.rsample((8,))
    exact = LowRankNormalDistribution(q.loc.double(), q.scale.double(), q.factors.double())
    torch.testing.assert_close(q.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-3, atol=1e-2)
    q.log_prob(z).sum().backward()
    assert net.value.grad is not None
    assert net.value.grad.isfinite().all()


def test_rank_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="rank=0 and needs at least 1"):
        LowRankNormal(nn.Linear(2, 2), rank=0, latent_shape=1)
