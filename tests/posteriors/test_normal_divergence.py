"""KL of correlated Gaussians against factorised ones: torch's own formula, draws, and what asks for it."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal, kl_divergence

from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors import FullNormal, LowRankNormal
from lowerbound.priors import StandardNormal

DIM = 3


def posterior(kind):
    torch.manual_seed(0)
    return kind(MLP(4, [], kind.parameter_shape(DIM))).double()(torch.randn(5, 4, dtype=torch.float64))


def prior(standard):
    if standard:
        return StandardNormal(DIM).double()()
    scale = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    return Independent(Normal(torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64), scale), 1)


@pytest.mark.parametrize("standard", [True, False])
@pytest.mark.parametrize("kind", [FullNormal, LowRankNormal])
def test_it_is_torch_s_between_two_full_covariances(kind, standard):
    q, p = posterior(kind), prior(standard)
    full_q = MultivariateNormal(q.mean, q.covariance_matrix)
    full_p = MultivariateNormal(p.mean, torch.diag(p.variance))
    got = kl_divergence(q, p)
    assert got.shape == (5,)
    torch.testing.assert_close(got, kl_divergence(full_q, full_p))
    torch.testing.assert_close(q.entropy(), full_q.entropy())


@pytest.mark.parametrize("kind", [FullNormal, LowRankNormal])
def test_it_is_the_mean_of_draws(kind):
    q, p = posterior(kind), prior(standard=False)
    z = q.sample((40_000,))
    terms = q.log_prob(z) - p.log_prob(z)
    assert ((terms.mean(0) - kl_divergence(q, p)).abs() < 5 * terms.std(0) / 200).all()
    assert (terms.std(0) / 200 < 0.1 * kl_divergence(q, p)).all()  # the draws would see an error of a half


@pytest.mark.parametrize("kind", [FullNormal, LowRankNormal])
def test_the_elbo_with_a_closed_rate(kind):
    exact = LinearGaussian.random(4, DIM)
    model = exact.model(kind(MLP(4, [], kind.parameter_shape(DIM))).double())
    x = exact.sample(6)
    loss = VariationalLoss(model, ELBO(rate="kl"), Pathwise(), num_samples=20_000)
    loss.check(x)
    closed, drawn = loss(x).terms["bound"], model.log_weights(x, 20_000).log_w
    assert abs(closed - drawn.mean()) < 0.02 * drawn.mean().abs()
    assert closed < exact.log_evidence(x).mean()


def test_products_of_other_things_have_none():
    q = posterior(FullNormal)
    for p in (
        Independent(Laplace(torch.zeros(DIM), torch.ones(DIM)), 1),
        StandardNormal(1)(),
        StandardNormal((1, 3))(),
    ):
        with pytest.raises(NotImplementedError):
            kl_divergence(q, p)
