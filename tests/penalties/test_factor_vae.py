"""FactorVAE: two objectives in one scalar that never mix, and the total correlation of a Gaussian recovered."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal

from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.penalties import FactorVAE
from lowerbound.penalties.factor_vae import permute_coordinates
from lowerbound.testing import flat_gradient


def case(weight):
    torch.manual_seed(0)
    penalty = FactorVAE(2, weight=weight, hidden=8)
    loc = torch.randn(20, 2, requires_grad=True)
    q = Independent(Normal(loc, torch.ones(20, 2)), 1)
    torch.manual_seed(1)
    return penalty, loc, q, penalty(q, q)


def test_the_cross_entropy_never_reaches_the_posterior():
    _, loc, _, value = case(weight=0.0)
    assert value == 0
    assert (flat_gradient(value, [loc]) == 0).all()


def test_the_total_correlation_never_reaches_the_discriminator():
    gradients = []
    for weight in (0.0, 100.0):
        penalty, _, _, value = case(weight)
        gradients.append(flat_gradient(value, penalty.parameters()))
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 0


def test_each_has_the_gradient_of_its_own_objective():
    penalty, loc, q, value = case(weight=3.0)
    torch.manual_seed(1)
    z, others = q.rsample(), permute_coordinates(q.rsample()).detach()
    total_correlation = 3 * penalty.discriminator(z).mean()
    torch.testing.assert_close(value, total_correlation)
    torch.testing.assert_close(flat_gradient(value, [loc]), flat_gradient(total_correlation, [loc]))
    one, zero = torch.ones(20, 1), torch.zeros(20, 1)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    mistakes = (bce(penalty.discriminator(z.detach()), one) + bce(penalty.discriminator(others), zero)) / 2
    got = flat_gradient(value, penalty.parameters())
    torch.testing.assert_close(got, flat_gradient(mistakes, penalty.parameters()))


def test_permuted_latents_keep_their_coordinates_and_lose_their_company():
    torch.manual_seed(0)
    z = torch.randn(2000, 1).expand(-1, 3) + torch.tensor([0.0, 10.0, 20.0])
    others = permute_coordinates(z)
    torch.testing.assert_close(others.sort(0).values, z.sort(0).values)
    correlation = torch.corrcoef(others.mT) - torch.eye(3)
    assert correlation.abs().max() < 0.1
    assert torch.corrcoef(z.mT).min() > 0.99


@pytest.mark.parametrize("correlation", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
@pytest.mark.slow
def test_the_total_correlation_of_a_gaussian_is_recovered(correlation):
    """−½ log(1 − ρ²), to 0.05 nats after 500 steps of 500 latents."""
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    q = MultivariateNormal(torch.zeros(500, 2), covariance)
    torch.manual_seed(0)
    penalty = FactorVAE(2, weight=1.0, hidden=32)
    penalty.check(q, q)
    optimizer = torch.optim.Adam(penalty.parameters(), lr=3e-3)
    for _ in range(500):
        optimizer.zero_grad()
        penalty(q, q).backward()
        optimizer.step()
    with torch.no_grad():
        got = penalty(MultivariateNormal(torch.zeros(50_000, 2), covariance), q)
    assert float(got) == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.05)


def test_training_moves_the_discriminator_in_the_same_step():
    torch.manual_seed(0)
    loss = VariationalLoss(vae((4,), latent_dim=2, hidden=(3,)), ELBO(), Pathwise(), 2, FactorVAE(2, hidden=8))
    loss.check(torch.ones(5, 4))
    loss(torch.ones(5, 4)).loss.backward()
    gradients = {name: p.grad for name, p in loss.named_parameters()}
    assert all(g is not None and g.abs().max() > 0 for name, g in gradients.items() if "discriminator" in name)
    with torch.no_grad():
        output = loss(torch.ones(5, 4))
    torch.testing.assert_close(output.loss, -output.terms["bound"])


def test_one_row_is_left_over_in_evaluation_and_refused_in_training():
    penalty, loc, _, _ = case(weight=1.0)
    q = Independent(Normal(loc[:1], 1.0), 1)
    with torch.no_grad():
        assert penalty(q, q).isfinite()
    with pytest.raises(ValueError, match="use batch_size ≥ 2"):
        penalty(q, q)


def test_refusals():
    discrete = Independent(Bernoulli(torch.full((3, 2), 0.5)), 1)
    with pytest.raises(ValueError, match="use DiagonalNormal, or a relaxed posterior"):
        FactorVAE(2).check(discrete, discrete)
    q = Independent(Normal(torch.zeros(3, 5), 1.0), 1)
    with pytest.raises(ValueError, match="give it their latent_dim"):
        FactorVAE(2).check(q, q)
    with pytest.raises(ValueError, match="weight=-1"):
        FactorVAE(2, weight=-1.0)
    with pytest.raises(ValueError, match="depth=0"):
        FactorVAE(2, depth=0)
    with pytest.raises(ValueError, match="at most 256"):
        FactorVAE(2, depth=10**9)
