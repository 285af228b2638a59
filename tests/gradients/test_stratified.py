"""Stratified samples of a mixture against quadrature over every component."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import Stratified
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import MixtureNormal
from lowerbound.testing import assert_unbiased, check_gradient, flat_gradient

X = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
K = 2


def case():
    """One Gaussian latent, two components apart from each other and unequal in weight."""
    exact = LinearGaussian.random(2, 1, seed=1)
    model = exact.model(MixtureNormal(nn.Linear(2, K * 3).double(), components=K, latent_shape=1))
    torch.manual_seed(5)
    model.posterior.net = nn.Sequential(nn.Linear(2, K * 3), nn.Unflatten(-1, (K, 3))).double()
    with torch.no_grad():
        model.posterior.net[0].bias += torch.tensor([1.0, -1.0, 0.0, -0.5, 0.7, -0.8])
    return exact, model


def by_quadrature(model, objective):
    """T = 1: Σ_k π_k ∫ q_k f, or the integral over both components' samples of log Σ_k π_k w(z_k)."""
    q, joint = model.infer(X), model.joint(X)
    points, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(64))
    weights = weights / weights.sum()
    z = q.loc[0, :, 0] + q.scale[0, :, 0] * points[:, None]  # (node, component)
    flat = z.reshape(-1, 1, 1)
    f = (sum(joint(flat)) - q.log_prob(flat)).view(-1, K)
    if objective.linear:
        return (q.log_weights[0].exp() * weights[:, None] * f).sum()
    value = torch.logaddexp(q.log_weights[0, 0] + f[:, None, 0], q.log_weights[0, 1] + f[None, :, 1])
    return (weights[:, None] * weights * value).sum()


@pytest.mark.slow
@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=str)
def test_value_and_gradients_are_unbiased(objective):
    _, model = case()
    theta, phi = [*model.likelihood.parameters()], [*model.posterior.parameters()]
    exact = by_quadrature(model, objective)
    loss = VariationalLoss(model, objective, Stratified(), 1)
    loss.check(X)
    many = X.expand(20_000, -1)

    def once():
        value = -loss(many).loss
        return torch.cat([value.detach()[None], flat_gradient(value, [*theta, *phi])])

    sizes = [1, *(sum(p.numel() for p in part) for part in (theta, phi))]
    repeats = torch.stack([once() for _ in range(64)])
    truth = torch.cat([exact.detach()[None], flat_gradient(exact, [*theta, *phi])]).split(sizes)
    for got, expected in zip(repeats.split(sizes, 1), truth, strict=True):
        assert_unbiased(lambda got=got: got, expected, num_repeats=64)


def test_the_bounds_are_in_order():
    exact, model = case()
    with torch.no_grad():
        elbo, siwae = by_quadrature(model, ELBO()), by_quadrature(model, IWAE())
    assert elbo < siwae < exact.log_evidence(X)


def test_every_component_is_drawn_num_samples_times_and_counts_with_its_weight():
    _, model = case()
    x = X.expand(5, -1)
    q = model.infer(x)
    w = Stratified().estimate(ELBO(), q, model.joint(x), 3).weights
    assert w.z.shape == (3 * K, 5, 1)
    torch.testing.assert_close(w.log_probability.exp().view(K, 3, 5).sum(1), q.log_weights.exp().mT)
    distance = ((w.z[:, :, 0].view(K, 3, 5) - q.loc[:, :, 0].mT[:, None]) / q.scale[:, :, 0].mT[:, None]).abs()
    assert distance.max() < 5


def test_the_terms_of_the_loss_count_components_by_their_weights():
    _, model = case()
    x = X.expand(20_000, -1)
    terms = VariationalLoss(model, ELBO(), Stratified(), 2)(x).terms
    torch.testing.assert_close(terms["bound"], terms["likelihood"] + terms["prior"] - terms["posterior"])
    drawn = model.log_weights(x, 2)
    torch.testing.assert_close(terms["likelihood"], drawn.log_likelihood.mean().detach(), atol=0.05, rtol=0)


@pytest.mark.parametrize("objective, num_samples", [*itertools.product([ELBO(), IWAE()], [1, 3])])
def test_conformance(objective, num_samples):
    _, model = case()
    assert check_gradient(Stratified(), objective, model, X.expand(4, -1), num_samples)


def test_without_gradients():
    _, model = case()
    with torch.no_grad():
        assert VariationalLoss(model, IWAE(), Stratified(), 2)(X).loss.isfinite()


def test_refusals():
    _, model = case()
    for model_without in (LinearGaussian.random(2, 1).model(), EnumerableBernoulli.random(2, 2).model()):
        with pytest.raises(ValueError, match=r"MixtureNormal posterior.*use Pathwise\(\)"):
            Stratified().check(ELBO(), model_without.infer(X), 2)
    Stratified().check(IWAE(), model.infer(X), 2)
    with pytest.raises(ValueError, match=r"derived for ELBO and IWAE.*use Pathwise\(\)"):
        Stratified().check(NotLinear(), model.infer(X), 2)
    with pytest.raises(ValueError, match="The rate kl needs a closed form"):
        Stratified().estimate(ELBO(rate="kl"), model.infer(X), model.joint(X), 1)


class NotLinear:
    bound, linear, rate = "none", False, "sampled"

    def signal(self, w):
        return w.log_w

    def reduce(self, signal):
        return signal.max(0).values
