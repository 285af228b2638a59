"""Wake-sleep against enumeration over z and x: each phase has its own gradient, and none of the other's."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lowerbound.data import InMemory, load
from lowerbound.exact import EnumerableBernoulli, FactorisedBernoulli
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.gradients import ReweightedWakeSleep
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss, WakeSleep
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import assert_unbiased, flat_gradient
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train

NUM_REPEATS, COPIES, NUM_SAMPLES = 48, 10_000, 2


@functools.cache
def case():
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    return exact, exact.model(), torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)


def theta_of(model):
    return [*model.prior.parameters(), *model.likelihood.parameters()]


def phi_of(model):
    return [*model.posterior.parameters()]


def every_x(data_dim):
    return torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * data_dim)


def repeats(objective, phi, parameters):
    _, model, x = case()
    loss = WakeSleep(model, objective, NUM_SAMPLES, phi)
    loss.check(x)
    torch.manual_seed(0)
    many = x.expand(COPIES, -1)
    return torch.stack([flat_gradient(-loss(many).loss, parameters) for _ in range(NUM_REPEATS)])


@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=str)
def test_theta_has_the_gradient_of_the_objective(objective):
    exact, model, x = case()
    truth = flat_gradient(exact.bound(objective, x, NUM_SAMPLES).sum(), theta_of(model))
    got = repeats(objective, "sleep", theta_of(model))
    assert_unbiased(lambda: got, truth, num_repeats=NUM_REPEATS)


def test_sleep_descends_the_divergence_over_the_dreams():
    """E[∇_φ log q(z | x)] over p(z, x), enumerated: −∇_φ E_{p(x)} KL(p(z | x) ‖ q(z | x)). The data play no part."""
    exact, model, _ = case()
    x = every_x(3)
    z = exact.states.to(x)[:, None].expand(-1, len(x), -1)
    log_p = sum(model.joint(x)(z)).detach()
    assert torch.allclose(log_p.exp().sum(), torch.ones((), dtype=torch.float64))
    log_posterior = log_p - torch.logsumexp(log_p, 0)
    divergence = (log_p.exp() * (log_posterior - model.infer(x).log_prob(z))).sum()
    got = repeats(ELBO(), "sleep", phi_of(model))
    assert_unbiased(lambda: got, flat_gradient(-divergence, phi_of(model)), num_repeats=NUM_REPEATS)


def test_sleep_is_not_the_gradient_of_the_bound():
    exact, model, x = case()
    got = repeats(ELBO(), "sleep", phi_of(model))
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: got, flat_gradient(exact.elbo(x).sum(), phi_of(model)), num_repeats=NUM_REPEATS)


@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=str)
def test_the_wake_phase_of_phi_is_that_of_reweighted_wake_sleep_whatever_theta_ascends(objective):
    _, model, x = case()
    gradients = []
    for loss in (WakeSleep(model, objective, 4, "wake"), VariationalLoss(model, IWAE(), ReweightedWakeSleep(), 4)):
        torch.manual_seed(0)
        gradients.append(flat_gradient(loss(x.expand(5, -1)).loss, phi_of(model)))
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


def test_both_is_the_mean_of_the_two():
    _, model, x = case()
    gradients = {}
    for phi in ("wake", "sleep", "both"):
        torch.manual_seed(0)
        gradients[phi] = flat_gradient(WakeSleep(model, IWAE(), 4, phi)(x.expand(5, -1)).loss, phi_of(model))
    torch.testing.assert_close(gradients["both"], (gradients["wake"] + gradients["sleep"]) / 2)


@pytest.mark.parametrize("phi", ["sleep", "wake", "both"])
def test_no_phase_reaches_the_parameters_of_the_other(phi, monkeypatch):
    """θ is what it is without φ's terms, and at an unlearnable p the loss has no gradient but φ's."""
    _, model, x = case()
    many = x.expand(6, -1)
    torch.manual_seed(0)
    theta = flat_gradient(WakeSleep(model, ELBO(), 3, phi)(many).loss, theta_of(model))
    torch.manual_seed(0)
    z = model.infer(many).sample((3,))
    alone = flat_gradient(-torch.stack(model.joint(many)(z)).sum(0).mean(), theta_of(model))
    assert torch.equal(theta, alone)
    for p in theta_of(model):
        monkeypatch.setattr(p, "requires_grad", False)
    phi_only = WakeSleep(model, ELBO(), 3, phi)
    monkeypatch.setattr("lowerbound.losses.wake_sleep.weighted_score", lambda log_w, log_q: torch.zeros(6).double())
    monkeypatch.setattr(phi_only, "_sleep", lambda *_: torch.zeros(6).double())
    assert not phi_only(many).loss.requires_grad


@pytest.mark.parametrize("phi", ["sleep", "wake", "both"])
@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=str)
def test_the_loss_is_minus_the_bound_and_so_it_is_held_out(objective, phi):
    _, model, x = case()
    values = []
    for context in (torch.enable_grad(), torch.no_grad()):
        torch.manual_seed(0)
        with context:
            loss, terms = WakeSleep(model, objective, 4, phi)(x.expand(5, -1))
        assert float(loss.detach()) == pytest.approx(-float(terms["bound"]), abs=1e-12)
        values.append(terms)
    torch.testing.assert_close(values[0], values[1])
    torch.manual_seed(0)
    other = VariationalLoss(model, IWAE(), ReweightedWakeSleep(), 4)(x.expand(5, -1)).terms
    assert ("sleep" in values[0]) == (phi != "wake")
    for name in ("likelihood", "prior", "posterior", *(["bound"] if objective == IWAE() else [])):
        torch.testing.assert_close(values[0][name], other[name])


@pytest.mark.slow
@pytest.mark.parametrize("objective, phi", [(ELBO(), "sleep"), (IWAE(), "both")])
def test_training_comes_near_the_optimum(objective, phi):
    """On data from a model of its own kind: at most log p(x) = −H(data) on average."""
    x = every_x(4)
    log_p = EnumerableBernoulli.random(2, 4, seed=3).log_evidence(x).detach()
    torch.manual_seed(0)
    rows = x[torch.multinomial(log_p.exp(), 4000, replacement=True)].float()
    model = LatentVariableModel(
        prior=FactorisedBernoulli(torch.zeros(3)),
        likelihood=Bernoulli(MLP(3, [], 4)),
        posterior=FactorisedBernoulli(MLP(4, [16], 3, nn.Tanh)),
    )
    exact = EnumerableBernoulli(model, 3)
    optimum, x = (log_p.exp() * log_p).sum(), x.float()

    @torch.no_grad()
    def gaps():
        evidence = (log_p.exp() * exact.log_evidence(x)).sum()
        bound = (log_p.exp() * exact.elbo(x)).sum()
        return float(optimum - evidence), float(evidence - bound)

    before = gaps()
    loss = WakeSleep(model, objective, 4, phi)
    list(train(loss, InMemory(rows), num_steps=600, batch_size=200, lr=0.02))
    after = gaps()
    assert before[0] > 0.1
    assert after[0] < 0.02, after
    assert after[1] < 0.04, after


class Shifted(nn.Module):
    """A density without samples."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))

    def forward(self, context: object = None) -> Independent:
        q = Independent(Normal(self.loc, 1.0), 1)

        def sample(sample_shape: object = None) -> None:
            raise NotImplementedError

        q.sample = sample
        return q


def test_refusals_of_options():
    _, model, _ = case()
    with pytest.raises((ValueError, TypeError), match="phi"):  # the type checks of this suite may be first
        WakeSleep(model, ELBO(), 2, phi="nap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="take phi='sleep'"):
        WakeSleep(model, ELBO(), 1, phi="wake")
    with pytest.raises(ValueError, match="at least 1"):
        WakeSleep(model, ELBO(), 0)


@pytest.mark.parametrize(
    "options, objective, words",
    [
        ({}, ELBO("kl"), r"use ELBO\(\) or IWAE\(\)"),
        ({"prior": "bernoulli"}, ELBO(), "bounds nothing"),
        ({"prior": "vamp"}, ELBO(), "such as MixtureNormal"),
        ({"posterior": "auxiliary-normal"}, IWAE(), "choose another posterior"),
    ],
)
def test_refusals_of_models(options, objective, words):
    model = vae((4,), latent_dim=2, hidden=(3,), **options)
    with pytest.raises(ValueError, match=words):
        WakeSleep(model, objective, 2).check(torch.ones(3, 4))
    WakeSleep(vae((4,), latent_dim=2, hidden=(3,)), ELBO(), 2).check(torch.ones(3, 4))


def test_a_prior_that_cannot_dream_and_dreams_of_another_shape_are_refused():
    model = vae((4,), latent_dim=2, hidden=(3,))
    model.prior = Shifted()
    with pytest.raises(ValueError, match="use phi='wake'"):
        WakeSleep(model, ELBO(), 2).check(torch.ones(3, 4))
    WakeSleep(model, ELBO(), 2, "wake").check(torch.ones(3, 4))
    one = vae((4,), latent_dim=2, hidden=(3,))
    one.likelihood = Bernoulli(MLP(2, [], 1))
    with pytest.raises(ValueError, match=r"over rows of shape \(1,\) and the rows have \(4,\)"):
        WakeSleep(one, ELBO(), 2).check(torch.ones(3, 4))


def test_check_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model = case()[1]
    WakeSleep(model, ELBO(), 2).check(case()[2])
    assert torch.equal(torch.rand(2), expected)


def test_dreams_are_given_the_context_of_their_rows():
    class Given(nn.Module):
        def __init__(self, sizes: list[int], out: int) -> None:
            super().__init__()
            self.net, self.seen = MLP([*sizes], [], out), []

        def forward(self, context: tuple[torch.Tensor, ...]) -> Independent:
            self.seen.append(context[-1])
            return Independent(Normal(self.net(*context), 1.0), 1)

    model = vae((4,), latent_dim=2, hidden=(3,))
    model.likelihood, model.posterior = Given([2, 3], 4), Given([4, 3], 2)
    x, context = torch.randn(5, 4), torch.randn(5, 3)
    loss = WakeSleep(model, ELBO(), 2)
    loss.check(x, context)
    loss(x, context)
    assert all(
        torch.equal(seen, context[: len(seen)]) for part in (model.likelihood, model.posterior) for seen in part.seen
    )


def test_dreams_are_constants_even_where_samples_are_not():
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(2, 4)

        def forward(self, context: torch.Tensor) -> Independent:
            p = Independent(Normal(self.net(context), 1.0), 1)
            p.sample = p.rsample
            return p

    model = vae((4,), latent_dim=2, hidden=(3,))
    model.likelihood = Leaky()
    sleep = WakeSleep(model, ELBO(), 2)._sleep(5, None).sum()
    assert (flat_gradient(sleep, model.likelihood.parameters()) == 0).all()
    assert flat_gradient(sleep, model.posterior.parameters()).abs().max() > 0


def test_the_settings_of_a_run_name_it_and_may_not_choose_what_it_does_not_look_at():
    data = load("digits")
    chosen = {
        "latent_dim": 2,
        "hidden": [3],
        "loss": "wake-sleep:phi=both",
        "objective": "elbo",
        "num_samples": 2,
        "steps": 1,
    }
    prepared = prepare(data, plan(data, "vae", **chosen), Engine(device="cpu")).loss
    assert isinstance(prepared, WakeSleep)
    assert (prepared.phi, prepared.num_samples) == ("both", 2)
    for vain in ({"penalty": "mmd"}, {"gradient": "score-function"}):
        with pytest.raises(ValueError, match=f"takes no {next(iter(vain))}"):
            prepare(data, plan(data, "vae", **chosen, **vain), Engine(device="cpu"))
