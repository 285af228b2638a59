"""Estimators for discrete latents where the answer is exact: enumeration, closed forms, definitions, refusals."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch

from lowerbound import posteriors, priors
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import ARM, REBAR, RELAX, Concrete, DisARM, StraightThrough
from lowerbound.gradients.discrete import Bits, OneHots
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.schedules import Exponential
from lowerbound.testing import check_gradient, flat_gradient
from lowerbound.weights import weigh

ELBOS = [ELBO(), ELBO(rate="entropy"), ELBO(rate="kl")]
PAIRS = [ARM(), DisARM()]


def binary(latent_dim=3, hidden=(3,)):
    exact = EnumerableBernoulli.random(latent_dim, 3, hidden, seed=1)
    return exact, exact.model(), torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)


def categorical():
    model = LatentVariableModel(
        prior=priors.Categorical(2, categories=3),
        likelihood=Bernoulli(MLP((2, 3), [4], 3, torch.nn.Tanh)),
        posterior=posteriors.Categorical(MLP(3, [], (2, 3)), categories=3),
    ).double()
    return model, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def relax(categories=None, latent_dim=3):
    estimator = RELAX(latent_dim, 3, categories, hidden=4).double()
    with torch.no_grad():
        for p in estimator.net.parameters():
            p.copy_(torch.randn_like(p))
    return estimator


def every(latent_dim=3):
    return [*PAIRS, REBAR(), relax(latent_dim=latent_dim), Concrete(), StraightThrough(), StraightThrough(0.7)]


def cells(logits):
    """Where (b, b̃) is constant: the middle of every cell of u (cell, 1, D), and its probability (cell,)."""
    low = torch.minimum(logits.sigmoid(), (-logits).sigmoid())
    middle = torch.stack([low / 2, torch.full_like(low, 0.5), 1 - low / 2])
    mass = torch.stack([low, 1 - 2 * low, low])
    index = torch.tensor(list(itertools.product(range(3), repeat=len(low))))
    columns = torch.arange(len(low))
    return middle[index, columns][:, None], mass[index, columns].prod(-1)


@pytest.mark.parametrize("num_samples", [2, 4])
@pytest.mark.parametrize("objective", ELBOS, ids=str)
@pytest.mark.parametrize("estimator", PAIRS, ids=str)
def test_antithetic_pairs_by_enumeration(estimator, objective, num_samples, monkeypatch):
    """Within a cell f is constant and the estimate linear in u, so that the middle of each is its expectation."""
    exact, model, x = binary()
    u, mass = cells(model.infer(x).base_dist.logits[0].detach())
    monkeypatch.setattr(
        torch, "rand", lambda pairs, *shape, **_: u.mT.reshape(1, -1, u.shape[-1]).expand(pairs, *shape)
    )
    u = u.transpose(0, 1)
    monkeypatch.setattr(torch, "rand", lambda pairs, *shape, **_: u.expand(pairs, *shape))
    many = x.expand(len(mass), -1)
    surrogate = estimator.estimate(objective, model.infer(many), model.joint(many), num_samples).surrogate
    parameters = [*model.prior.parameters(), *model.likelihood.parameters(), *model.posterior.parameters()]
    truth = exact.elbo(x).sum()
    assert torch.allclose((mass * surrogate).sum(), truth)
    got, expected = (flat_gradient(value, parameters) for value in ((mass * surrogate).sum(), truth))
    assert torch.allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_disarm_is_arm_averaged_over_the_noise_that_gives_the_same_pair(monkeypatch):
    """So that its variance is lower, in every coordinate and by what ARM varies inside a cell."""
    _, model, x = binary()
    u, _ = cells(model.infer(x).base_dist.logits[0].detach())
    logits = model.infer(x).base_dist.logits.detach().expand(len(u), -1).contiguous().requires_grad_()

    def gradient(estimator, noise):
        monkeypatch.setattr(torch, "rand", lambda *_, **__: noise.transpose(0, 1))
        q, many = Bits().distribution(logits), x.expand(len(u), -1)
        return torch.autograd.grad(estimator.estimate(ELBO(), q, model.joint(many), 2).surrogate.sum(), logits)[0]

    torch.testing.assert_close(gradient(ARM(), u), gradient(DisARM(), u))
    moved = u + 1e-3
    assert not torch.allclose(gradient(ARM(), moved), gradient(ARM(), u))
    assert torch.equal(gradient(DisARM(), moved), gradient(DisARM(), u))


def test_disarm_varies_less_than_arm():
    _, model, x = binary()
    many = x.expand(20_000, -1)
    q = model.infer(many)
    logits = q.base_dist.logits.detach().requires_grad_()

    def spread(estimator):
        surrogate = estimator.estimate(ELBO(), Bits().distribution(logits), model.joint(many), 2).surrogate
        return torch.autograd.grad(surrogate.sum(), logits)[0].var(0)

    assert (spread(DisARM()) < spread(ARM())).all()


@pytest.mark.parametrize("estimator", [*PAIRS, REBAR()], ids=["arm", "disarm", "rebar"])
def test_no_variance_at_the_exact_posterior(estimator):
    """log w is log p(x) at every b, so that every difference of it vanishes."""
    _, model, x = binary(hidden=())
    with torch.no_grad():
        for net in (model.likelihood.net, model.posterior.net):
            net.layers[0].weight.zero_()
        model.posterior.net.layers[0].bias.copy_(model.prior.logits)
    loss = VariationalLoss(model, ELBO(), estimator, 4)
    gradient = flat_gradient(loss(x.expand(50, -1)).loss, model.posterior.parameters())
    assert gradient.abs().max() < 1e-12


def test_bits_drawn_again_move_as_the_logistic_truncated_to_the_side_of_b():
    """At a fixed value of the conditional distribution function F(z; a), ∂z/∂a = −(∂F/∂a) / (∂F/∂z)."""
    a = torch.linspace(-4, 4, 9, dtype=torch.float64).expand(1, 9).requires_grad_()
    z = Bits().draw(a, 200).detach().requires_grad_()
    again = Bits().draw_given(a, z)
    torch.testing.assert_close(again, z)
    below = (z - a).sigmoid()
    F = torch.where(z > 0, (below - (-a).sigmoid()) / a.sigmoid(), below / (-a).sigmoid())
    for s in range(0, 200, 40):
        by_a, by_z = torch.autograd.grad(F[s].sum(), (a, z), retain_graph=True)
        (got,) = torch.autograd.grad(again[s].sum(), a, retain_graph=True)
        torch.testing.assert_close(got, -by_a / by_z[s])


def test_one_hots_drawn_again_move_as_the_gumbels_truncated_to_the_winner():
    """Given that k won with z_k, which has the law of the largest whatever a is, z_i is a Gumbel below z_k."""
    a = torch.tensor([[[0.3, -2.0, 1.0, -1.0]]], dtype=torch.float64, requires_grad=True)
    z = OneHots().draw(a, 20).detach().requires_grad_()
    again = OneHots().draw_given(a, z)
    torch.testing.assert_close(again, z)
    winner = z.amax(-1, keepdim=True).detach()
    F = (-a.softmax(-1) * ((-z).exp() - (-winner).exp())).exp()
    for s, i in itertools.product(range(20), range(4)):
        (got,) = torch.autograd.grad(again[s, 0, 0, i], a, retain_graph=True)
        by_a, by_z = torch.autograd.grad(F[s, 0, 0, i], (a, z), retain_graph=True)
        wins = bool(z[s, 0, 0, i] == winner[s, 0, 0, 0])
        torch.testing.assert_close(got, torch.zeros_like(a) if wins else -by_a / by_z[s, 0, 0, i])


@pytest.mark.parametrize("family, shape", [(Bits(), (1, 5)), (OneHots(), (1, 1, 5))], ids=["bits", "one-hots"])
def test_drawing_again_survives_float32(family, shape):
    a = torch.tensor([-400.0, -20.0, 0.0, 20.0, 400.0]).reshape(shape).requires_grad_()
    z = family.draw(a, 10_000)
    z = torch.cat([z, torch.zeros_like(z[:1])])  # on the threshold, or a tie
    again = family.draw_given(a, z)
    torch.testing.assert_close(again, z, atol=1e-5, rtol=1e-5)
    assert torch.autograd.grad((again**2).sum(), a)[0].isfinite().all()


@pytest.mark.parametrize("family, shape", [(Bits(), (2, 3)), (OneHots(), (2, 2, 3))], ids=["bits", "one-hots"])
def test_families(family, shape):
    a = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    z = family.draw(a, 50_000)
    b = family.harden(z)
    assert (b.mean(0) - family.mean(a)).abs().max() < 6 * 0.5 / 50_000**0.5
    assert (family.soften(z, 1e-3) - b).abs().mean() < 0.01
    q, few = family.distribution(a), b[:4]
    score = torch.autograd.grad(q.log_prob(few).sum(), a)[0]
    torch.testing.assert_close(score, (few - family.mean(a)).sum(0))
    soft = family.soften(z[:4], 1.0).detach().requires_grad_()
    slope = torch.autograd.grad(q.log_prob(soft).sum(), soft)[0]
    torch.testing.assert_close(slope, (a if family.__class__ is Bits else a.log_softmax(-1)).expand_as(slope))


@pytest.mark.parametrize("case", [lambda: binary()[1:], categorical], ids=["bits", "one-hots"])
@pytest.mark.parametrize("objective", [*ELBOS, IWAE()], ids=str)
def test_conformance(case, objective):
    model, x = case()
    one_hot_latents = isinstance(model.prior, priors.Categorical)
    estimators = [*every()[:3], relax(3, 2) if one_hot_latents else relax(), *every()[4:]]
    accepted = [
        check_gradient(estimator, objective, model, x.expand(3, -1) if len(x) == 1 else x) for estimator in estimators
    ]
    pairs = not one_hot_latents and objective.linear
    assert accepted == [pairs, pairs, True, True, True, True, True]


@pytest.mark.parametrize("case", [lambda: binary()[1:], categorical], ids=["bits", "one-hots"])
@pytest.mark.parametrize("objective", [ELBO(), ELBO(rate="kl"), IWAE()], ids=str)
def test_rebar_without_its_control_variate_is_the_score_function(case, objective):
    model, x = case()
    estimator = REBAR()
    with torch.no_grad():
        estimator.scale.zero_()
    q = model.infer(x)
    logits = q.base_dist.logits
    estimate = estimator.estimate(objective, q, model.joint(x), 3)
    w = estimate.weights
    family = OneHots() if q.event_shape.numel() == 6 else Bits()
    signal = objective.signal(w).detach()
    reward = signal / 3 if objective.linear else objective.reduce(signal).expand(3, -1)
    by_hand = (reward.reshape(3, -1, *[1] * (logits.ndim - 1)) * (w.z - family.mean(logits))).sum(0)
    if objective != ELBO():  # plus what the objective holds of φ at fixed b
        at_b = weigh(family.distribution(logits), model.joint(x), w.z, rate=objective.rate)
        value = objective.reduce(objective.signal(at_b))
        by_hand = by_hand + torch.autograd.grad(value.sum(), logits, retain_graph=True)[0]
    got = torch.autograd.grad(estimate.surrogate.sum(), logits)[0]
    torch.testing.assert_close(got, by_hand.detach())


def own(estimator):
    return [*estimator.parameters()]


@pytest.mark.parametrize("make", [REBAR, relax], ids=["rebar", "relax"])
def test_the_control_variate_descends_the_squared_gradient_and_touches_nothing_else(make):
    _, model, x = binary()
    estimator, many = make().double(), x.expand(5, -1)
    logits = model.infer(many).base_dist.logits.detach().requires_grad_()
    theta = [*model.prior.parameters(), *model.likelihood.parameters()]

    def estimate():
        torch.manual_seed(2)
        return estimator.estimate(ELBO(), Bits().distribution(logits), model.joint(many), 2).surrogate

    def power():
        return torch.autograd.grad(estimate().sum(), logits)[0].square().sum(1).mean().item()

    got = flat_gradient(estimate().mean(), own(estimator))
    numeric = []
    for p in own(estimator):
        for i in range(p.numel()):
            values = []
            for step in (1e-5, -2e-5, 1e-5):
                with torch.no_grad():
                    p.view(-1)[i] += step
                values.append(power())
            numeric.append((values[0] - values[1]) / 2e-5)
    torch.testing.assert_close(got, -torch.tensor(numeric, dtype=torch.float64), rtol=1e-4, atol=1e-6)
    assert (got != 0).sum() >= len(got) - 4  # the weights of the input x_2 = 0 get none
    others = [logits, *theta]
    before = flat_gradient(estimate().sum(), others)
    estimator.requires_grad_(False)
    assert torch.equal(flat_gradient(estimate().sum(), others), before)


def test_relax_starts_as_rebar():
    _, model, x = binary()
    gradients = []
    for estimator in (REBAR(), RELAX(3, 3).double()):
        torch.manual_seed(2)
        loss = VariationalLoss(model, ELBO(), estimator, 2)
        gradients.append(flat_gradient(loss(x).loss, model.posterior.parameters()))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("temperature", [None, 0.7])
@pytest.mark.parametrize("case", [lambda: binary()[1:], categorical], ids=["bits", "one-hots"])
def test_straight_through_and_concrete_by_their_definitions(case, temperature):
    """∂f/∂z, at b or at y, times what stands for ∂b/∂a; z again from the same noise."""
    model, x = case()
    q = model.infer(x)
    logits, family = q.base_dist.logits, OneHots() if q.event_shape.numel() == 6 else Bits()

    def at(estimator):
        torch.manual_seed(2)
        surrogate = estimator.estimate(ELBO(), model.infer(x), model.joint(x), 2).surrogate
        return flat_gradient(surrogate.sum(), model.posterior.parameters())

    torch.manual_seed(2)
    z = family.draw(logits, 2)
    smooth = family.mean(logits).expand_as(z) if temperature is None else family.soften(z, temperature)

    def by_hand(point):
        point = point.detach().requires_grad_()
        log_q = (point * (logits if family.__class__ is Bits else logits.log_softmax(-1)).detach()).flatten(2).sum(-1)
        f = sum(model.joint(x)(point)) - log_q
        slope = torch.autograd.grad(f.mean(0).sum(), point)[0]
        return flat_gradient((slope * smooth).sum(), model.posterior.parameters())

    torch.testing.assert_close(at(StraightThrough(temperature)), by_hand(family.harden(z)))
    if temperature is not None:
        torch.testing.assert_close(at(Concrete(temperature)), by_hand(smooth), rtol=1e-5, atol=1e-6)  # a float32 buffer


def test_concrete_follows_a_schedule():
    estimator = Concrete(Exponential(1.0, 0.01, 2))
    assert estimator.temperature.item() == 1
    estimator.at_step(1)
    assert estimator.temperature.item() == pytest.approx(0.1)
    constant = Concrete(0.3)
    constant.at_step(1000)
    assert constant.temperature.item() == pytest.approx(0.3)


@pytest.mark.parametrize("estimator", every(), ids=lambda e: type(e).__name__)
def test_evaluation_needs_no_gradient(estimator):
    exact, model, x = binary()
    loss = VariationalLoss(model, ELBO(), estimator, 2)
    with torch.no_grad():
        output = loss(x.expand(20_000, -1))
    assert not output.loss.requires_grad
    assert abs(-output.loss - exact.elbo(x)) < 0.05
    assert all(p.grad is None for p in loss.parameters())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: VariationalLoss(binary()[1], ELBO(), ARM(), 3)(binary()[2]), "num_samples=3; give it an even number"),
        (
            lambda: VariationalLoss(binary()[1], IWAE(), DisARM(), 2).check(binary()[2]),
            r"ScoreFunction\(\), which is VIMCO",
        ),
        (
            lambda: VariationalLoss(categorical()[0], ELBO(), ARM(), 2).check(categorical()[1]),
            "posteriors.Bernoulli, a",
        ),
        (lambda: RELAX(2, 3).check(ELBO(), binary()[1].infer(binary()[2]), 2), r"shape \(2,\) and got \(3,\)"),
        (lambda: Concrete(0.0), "temperature=0.0 and needs a positive number"),
        (lambda: StraightThrough(-1.0), "temperature=-1.0 and needs a positive number or None"),
        (lambda: REBAR(0.0), "temperature=0.0 and needs a positive number"),
        (lambda: RELAX(3, 3, temperature=0.0), "temperature=0.0 and needs a positive number"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("estimator", every(), ids=lambda e: type(e).__name__)
def test_continuous_posteriors_are_refused(estimator):
    exact = LinearGaussian.random(3, 2)
    with pytest.raises(ValueError, match=r"use Pathwise\(\)"):
        VariationalLoss(exact.model(), ELBO(), estimator, 2).check(exact.sample(1))


SCRIPT = """
import torch
from lowerbound import VariationalLoss
from lowerbound.data import InMemory
from lowerbound.training.engine import Engine
from lowerbound.gradients import ARM, REBAR, RELAX, Concrete, DisARM, StraightThrough
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.optimizers import Adam
from lowerbound.training.steps import CompiledStep, EagerStep

x = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)).round()
def make(estimator):
    torch.manual_seed(1)
    model = vae((3,), latent_dim=2, hidden=(4,), prior="bernoulli", posterior="bernoulli")
    return VariationalLoss(model, ELBO(), estimator(), 4)
for estimator in (ARM, DisARM, Concrete, StraightThrough, REBAR, lambda: RELAX(2, 3)):
    compiled = CompiledStep(make(estimator), InMemory(x).transform, None)
    eager = EagerStep(make(estimator), InMemory(x).transform, Engine(device="cpu"), Adam(), None)
    compiled.prepare((x,))
    rows = []
    for step in (compiled, eager):
        torch.manual_seed(0)
        rows.append(torch.stack([step((x,), 0.1) for _ in range(3)]))
    torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-5)
print("the same")
"""


@pytest.mark.slow
def test_the_compiled_step_is_the_eager_one():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the same" in done.stdout
