"""A constrained objective: the constraint is met, with the multiplier that Lagrange's conditions give."""

from __future__ import annotations

import pytest
import torch

from lowerbound.exact import AffineNormal, LinearGaussian
from lowerbound.gradients import Pathwise, ScoreFunction, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, GECO
from lowerbound.testing import check_objective, flat_gradient
from lowerbound.weights import LogWeights, weigh


def case():
    exact = LinearGaussian.random(3, 1, seed=2)
    return exact, exact.sample(6)


def tempered(exact, multiplier):
    """The q that minimises rate + λ distortion: q ∝ p(z) p(x | z)^λ, with precision 1 + λ WᵀΨ⁻¹W."""
    projection = exact.weight.mT / exact.scale**2
    precision = 1 + multiplier * projection @ exact.weight
    weight = multiplier * projection / precision
    return AffineNormal(weight, -weight @ exact.offset, log_scale=-0.5 * precision.log()[0])


def terms(model, x, num_samples=200_000):
    q = model.infer(x)
    w = weigh(q, model.joint(x), q.rsample((num_samples,)), rate="kl")
    return w.distortion.mean().detach(), w.rate.mean().detach()


def test_conformance():
    check_objective(GECO(3.0))
    check_objective(GECO(3.0, rate="kl"))


def test_it_starts_at_the_elbo():
    w = LogWeights(**{name: torch.randn(3, 4) for name in ("log_likelihood", "log_prior", "log_q", "z")})
    objective = GECO(3.0)
    assert objective.multiplier == pytest.approx(1.0)
    assert torch.allclose(objective.reduce(objective.signal(w)), ELBO().reduce(w.log_w) + 3.0)


@pytest.mark.parametrize("multiplier", [0.4, pytest.param(3.0, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_the_constraint_is_met_with_the_multiplier_of_lagrange(multiplier):
    exact, x = case()
    model = exact.model(exact.posterior_module(diagonal=True))
    for part in (model.prior, model.likelihood):
        part.requires_grad_(False)
    optimum = exact.model(tempered(exact, multiplier))
    distortion, rate = terms(optimum, x)
    objective = GECO(float(distortion), rate="kl")
    loss = VariationalLoss(model, objective, Pathwise(), 64)
    optimizer = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], lr=0.03)
    seen = []
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 if step < 200 else 0.005
        optimizer.zero_grad()
        loss(x).loss.backward()
        optimizer.step()
        seen.append(float(objective.multiplier))
    got_distortion, got_rate = terms(model, x)
    assert sum(seen[-100:]) / 100 == pytest.approx(multiplier, rel=0.1)
    assert float(got_distortion) == pytest.approx(float(distortion), abs=0.05)
    assert float(got_rate) == pytest.approx(float(rate), abs=0.05)


@pytest.mark.parametrize("estimator", [Pathwise(), ScoreFunction(), StickTheLanding()])
def test_the_multiplier_learns_apart_from_the_model(estimator):
    """η gets the excess of the distortion, and the model gets what a constant multiplier would give it."""
    exact, x = case()
    model = exact.model(exact.posterior_module(diagonal=True))
    objective = GECO(2.0)
    with torch.no_grad():
        objective.eta += 1.0
    q = model.infer(x)
    torch.manual_seed(1)
    estimate = estimator.estimate(objective, q, model.joint(x), 4)
    surrogate, w = estimate.surrogate.mean(), estimate.weights
    (of_eta,) = torch.autograd.grad(surrogate, objective.eta, retain_graph=True)
    assert torch.allclose(of_eta.double(), (w.distortion - 2.0).mean())

    class Fixed(GECO):
        def signal(self, w):
            return -w.rate - self.multiplier * (w.distortion - 2.0)

    fixed = Fixed(2.0)
    fixed.load_state_dict(objective.state_dict())
    torch.manual_seed(1)
    again = estimator.estimate(fixed, q, model.joint(x), 4)
    assert torch.equal(again.surrogate, estimate.surrogate)
    parameters = [*model.parameters()]
    expected = flat_gradient(again.surrogate.mean(), parameters)
    assert torch.equal(flat_gradient(surrogate, parameters), expected)


def test_the_multiplier_stays_between_its_limits():
    objective = GECO(0.0, largest=10.0)
    with torch.no_grad():
        objective.eta.fill_(1e4)
        assert float(objective.multiplier) == 10.0
        objective.eta.fill_(-1e4)
        assert float(objective.multiplier) == 0.0


def test_in_eval_mode_the_value_is_an_exact_penalty_whatever_the_multiplier():
    """The mean distortion counts: one datum above the target and one below it are on target together."""
    objective = GECO(5.0, largest=100.0).eval()
    zeros, one = torch.zeros(1, 2), torch.tensor([[1.0, 2.0]])
    met = LogWeights(log_likelihood=torch.tensor([[-9.0, -1.0]]), log_prior=-one, log_q=zeros, z=zeros)
    missed = LogWeights(log_likelihood=torch.tensor([[-9.0, -3.0]]), log_prior=-one, log_q=zeros, z=zeros)
    for eta in (-3.0, 3.0):
        with torch.no_grad():
            objective.eta.fill_(eta)
        assert torch.equal(objective.reduce(objective.signal(met)), torch.tensor([-1.0, -2.0]))
        assert torch.equal(objective.reduce(objective.signal(missed)), torch.tensor([-101.0, -102.0]))


def test_the_penalty_is_the_largest_of_the_lagrangians():
    objective = GECO(1.0, largest=7.0)
    w = LogWeights(**{name: torch.randn(3, 4) for name in ("log_likelihood", "log_prior", "log_q", "z")})
    values = []
    for eta in torch.linspace(-200.0, 200.0, 401):
        with torch.no_grad():
            objective.eta.copy_(eta)
            values.append(objective.reduce(objective.signal(w)).mean())
    penalty = objective.eval().reduce(objective.signal(w)).mean()
    assert torch.allclose(torch.stack(values).min(), penalty, atol=1e-5)


def test_no_room_for_the_start_is_refused():
    with pytest.raises(ValueError, match=r"largest=1.0 and needs more than 1"):
        GECO(1.0, largest=1.0)
