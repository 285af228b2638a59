"""The discrete VAE against enumeration of its bits and quadrature over their smoothing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lowerbound.data import load
from lowerbound.distributions.smoothed import draw_smoothed, expected_log_prob
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.gradients import DReG, Pathwise, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.models import dvae
from lowerbound.objectives import ELBO, IWAE
from lowerbound.one_call import fit

BETA = 3.0
NODES, WEIGHTS = (torch.tensor(part) for part in np.polynomial.legendre.leggauss(40))
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2


def smoothing_density(smoothing: str, z: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights of r(ζ | z)."""
    if smoothing == "spike" and z == 0:
        return torch.zeros(1).double(), torch.ones(1).double()
    if z == 1:
        return NODES, WEIGHTS * BETA * torch.exp(BETA * NODES) / math.expm1(BETA)
    return NODES, WEIGHTS * BETA * torch.exp(-BETA * NODES) / -math.expm1(-BETA)


@pytest.fixture(params=itertools.product(["spike", "overlapping"], ["rbm", "bernoulli"]), ids="-".join)
def model(request):
    smoothing, bits = request.param
    torch.manual_seed(0)
    made = dvae((4,), latent_dim=2, bits=bits, smoothing=smoothing, beta=BETA, hidden=[6]).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p))
    return made


def exact_bound(model, x):
    """E_q[log p(x | ζ)] − KL(q(z | x) ‖ p(z)) of one row, by enumeration of z and quadrature over ζ; and log p(x)."""
    pi, value, log_p_x, bits = model.posterior.net(x)[0].sigmoid(), 0, [], model.prior().bits
    for z in itertools.product([0.0, 1.0], repeat=2):
        parts = [smoothing_density(model.prior.smoothing, one) for one in z]
        zeta = torch.cartesian_prod(parts[0][0], parts[1][0])
        weight = torch.outer(parts[0][1], parts[1][1]).flatten()
        logits = model.likelihood.net(zeta)
        log_p = -binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
        z = torch.tensor(z).double()
        q = torch.where(z == 1, pi, 1 - pi).prod()
        value = value + q * ((weight * log_p).sum() + bits.log_prob(z) - q.log())
        log_p_x.append(torch.logsumexp(log_p + weight.log(), 0) + bits.log_prob(z))
    return value, torch.logsumexp(torch.stack(log_p_x), 0)


X = torch.tensor([[1.0, 0.0, 1.0, 1.0]]).double()
COPIES = 40_000


def test_value_and_gradient_are_those_of_enumeration_and_quadrature(model):
    """With 1/√n errors: 40,000 copies of one row in one batch, whose gradient is a mean of independent ones."""
    parameters = list(model.parameters())
    value, _ = exact_bound(model, X)
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])
    loss = VariationalLoss(model, ELBO("kl"), Pathwise())
    loss.check(X)
    torch.manual_seed(1)
    repeats = []
    for _ in range(16):
        out = loss(X.expand(COPIES // 16, 4))
        gradients = torch.autograd.grad(-out.loss, parameters)
        repeats.append(torch.cat([-out.loss.detach()[None], *(g.flatten() for g in gradients)]))
    found = torch.stack(repeats)
    error = found.std(0) / 4
    z = (found.mean(0) - torch.cat([value.detach()[None], wanted])) / error.clamp_min(1e-9)
    assert z.abs().max() < 6
    assert (error[1:] < 0.02 * wanted.norm()).all()


def test_log_p_is_reached_by_importance_sampling(model):
    _, log_p = exact_bound(model, X)
    torch.manual_seed(2)
    with torch.no_grad():
        w = model.log_weights(X, COPIES).log_w[:, 0]
    estimate = torch.logsumexp(w, 0) - math.log(COPIES)
    error = (w - estimate).exp().std() / math.sqrt(COPIES)
    assert abs(estimate - log_p) < 6 * error
    assert error < 0.05


def test_the_closed_rate_is_that_of_enumeration(model):
    probs, bits = torch.tensor([[0.3, 0.9]]).double(), model.prior().bits
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2))).double()
    q = torch.where(states == 1, probs, 1 - probs).prod(-1)
    torch.testing.assert_close(expected_log_prob(bits, probs)[0], (q * bits.log_prob(states)).sum())


@pytest.mark.parametrize("smoothing", ["spike", "overlapping"])
def test_draws_have_the_distribution_of_the_smoothing(smoothing):
    torch.manual_seed(0)
    logits = torch.tensor([0.4, -1.0, 3.0]).double()
    draws = draw_smoothed(logits.expand(100_000, 3), smoothing, BETA)
    zeta, z = draws[:, 0], draws[:, 1]
    torch.testing.assert_close(z.mean(0), logits.sigmoid(), atol=0.008, rtol=0)
    for value in (0.0, 1.0):
        nodes, weights = smoothing_density(smoothing, value)
        for power in (1, 2):
            mean = (weights * nodes**power).sum()
            found = torch.stack([zeta[z[:, i] == value, i].pow(power).mean() for i in range(3)])
            torch.testing.assert_close(found, mean.expand(3), atol=0.015, rtol=0)


@pytest.mark.parametrize(
    "objective, gradient",
    [(ELBO(), Pathwise()), (ELBO("entropy"), Pathwise()), (ELBO(), StickTheLanding()), (IWAE(), DReG())],
)
def test_a_rate_that_jumps_is_refused(objective, gradient):
    loss = VariationalLoss(dvae((4,), latent_dim=2, hidden=[6]), objective, gradient, 2)
    with pytest.raises(ValueError, match="jumps with the bits") as error:
        loss.check(X.float())
    assert len(str(error.value)) <= 300


def test_a_fit_opens_again(tmp_path):
    digits = load("digits")
    assert plan(digits, "dvae", steps=10).objective == "beta-elbo:beta=1.0,rate=kl,warmup=1000"
    fitted = fit(digits, "dvae", steps=5, latent_dim=4, hidden=[8], device="cpu")
    fitted.save(tmp_path / "run")
    np.testing.assert_array_equal(Fitted.open(tmp_path / "run").sample(3), fitted.sample(3))
    assert fitted.encode(digits.x_test[:5]).mean.shape == (5, 8)
    with pytest.raises(ValueError, match="latent_dim is 1 and must be at least 2"):
        dvae((4,), latent_dim=1)
    with pytest.raises(ValueError, match="beta=0 and needs"):
        dvae((4,), beta=0.0)
