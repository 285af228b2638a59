"""Monte Carlo EM against Fisher's identity: its gradient is that of log p(x), known exactly, for every E step."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import ReweightedWakeSleep
from lowerbound.linear import fit_factor_analysis
from lowerbound.losses import VariationalLoss
from lowerbound.losses.monte_carlo_em import MonteCarloEM
from lowerbound.models import vae
from lowerbound.objectives import IWAE
from lowerbound.testing import assert_unbiased, flat_gradient


@functools.cache
def case():
    exact = LinearGaussian.random(3, 2, seed=1)
    return exact, exact.sample(1)


def models():
    """With the exact posterior, and with a q that is off in mean and spread."""
    exact, _ = case()
    p = exact.posterior_module()
    wide = AffineNormal(p.weight, p.offset + 0.3, scale_tril=1.4 * p.scale_tril)
    return {"exact": exact.model(), "off": exact.model(wide)}


def theta_of(model):
    return [*model.prior.parameters(), *model.likelihood.parameters()]


def exact_gradient(model, x):
    return flat_gradient(LinearGaussian.of(model.likelihood).log_evidence(x).sum(), theta_of(model))


def repeats(model, parameters, count, copies, **options):
    _, x = case()
    loss, many = MonteCarloEM(model, **options), x.expand(copies, -1)
    loss.check(x)
    return torch.stack([flat_gradient(-loss(many).loss, parameters) for _ in range(count)])


@pytest.mark.parametrize(
    "q, options, copies, smallest",
    [
        ("exact", {"draws": "importance", "num_samples": 2}, 5000, 0.02),  # weights all alike: without bias
        ("off", {"draws": "importance", "num_samples": 1000}, 50, 0.02),
        pytest.param("off", {"draws": "prior", "num_samples": 4000}, 50, 0.03, marks=pytest.mark.slow),
        pytest.param("off", {"draws": "hmc", "num_samples": 2, "num_warmup": 25}, 800, 0.06, marks=pytest.mark.slow),
    ],
)
def test_fishers_identity(q, options, copies, smallest):
    model = models()[q]
    got = repeats(model, theta_of(model), 16, copies, **options)
    truth = exact_gradient(model, case()[1])
    assert_unbiased(lambda: got, truth, num_repeats=16, smallest_detectable=smallest)


@pytest.mark.parametrize("options", [{"draws": "importance"}, {"draws": "prior"}])
def test_few_samples_of_a_poor_proposal_are_biased_as_documented(options):
    model = models()["off"]
    got = repeats(model, theta_of(model), 16, 5000, num_samples=2, **options)
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: got, exact_gradient(model, case()[1]), num_repeats=16, smallest_detectable=0.2)


@pytest.mark.slow
def test_hmc_without_warmup_from_a_poor_start_is_biased():
    """So the test of Fisher's identity would have noticed chains that do not move."""
    model = models()["off"]
    got = repeats(model, theta_of(model), 16, 2000, draws="hmc", num_samples=2, num_warmup=0, num_leapfrog=1)
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: got, exact_gradient(model, case()[1]), num_repeats=16, smallest_detectable=0.1)


def test_importance_has_the_gradients_of_reweighted_wake_sleep():
    model, (_, x) = models()["off"], case()
    gradients = []
    for loss in (MonteCarloEM(model, 8), VariationalLoss(model, IWAE(), ReweightedWakeSleep(), 8)):
        torch.manual_seed(0)
        gradients.append(flat_gradient(loss(x.expand(5, -1)).loss, [*model.parameters()]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("draws", ["importance", "prior", "hmc"])
def test_the_value_is_minus_the_importance_weighted_bound_whatever_the_draws(draws):
    model, (_, x) = models()["off"], case()
    many, values = x.expand(6, -1), []
    for context in (torch.enable_grad(), torch.no_grad()):
        torch.manual_seed(0)
        with context:
            loss, terms = MonteCarloEM(model, 4, draws, num_warmup=2)(many)
        assert float(loss.detach()) == pytest.approx(-float(terms["bound"]), abs=1e-12)
        values.append(terms)
    torch.testing.assert_close(values[0], values[1])
    torch.manual_seed(0)
    log_w = model.log_weights(many, 4).log_w.detach()
    assert float(values[0]["bound"]) == pytest.approx(float((log_w.logsumexp(0) - torch.tensor(4.0).log()).mean()))


@pytest.mark.parametrize("draws", ["importance", pytest.param("hmc", marks=pytest.mark.slow)])
def test_phi_ascends_the_log_density_of_the_draws(draws):
    """At E_p(z | x)[∇_φ log q(z | x)], in closed form: for a Gaussian q it is −∇_φ KL(p(z | x) ‖ q)."""
    model, (exact, x) = models()["off"], case()
    phi = [*model.posterior.parameters()]
    truth = -flat_gradient(torch.distributions.kl_divergence(exact.posterior(x), model.infer(x)).sum(), phi)
    options = {"num_samples": 1000} if draws == "importance" else {"num_samples": 2, "num_warmup": 25}
    got = repeats(model, phi, 16, 50 if draws == "importance" else 2000, draws=draws, **options)
    assert_unbiased(lambda: got, truth, num_repeats=16, smallest_detectable=0.05)


@pytest.mark.parametrize("draws", ["importance", "prior"])
def test_binary_latents_have_the_gradient_of_log_p(draws):
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    model, x = exact.model(), torch.tensor([[1.0, 0.0, 1.0]]).double()
    loss = MonteCarloEM(model, 500, draws)
    loss.check(x)
    torch.manual_seed(0)
    got = torch.stack([flat_gradient(-loss(x.expand(100, -1)).loss, theta_of(model)) for _ in range(16)])
    truth = flat_gradient(exact.log_evidence(x).sum(), theta_of(model))
    assert_unbiased(lambda: got, truth, num_repeats=16, smallest_detectable=0.05)


def test_training_comes_near_the_maximum_of_the_likelihood():
    x = LinearGaussian.random(4, 1, seed=2).sample(200)
    *_, best = fit_factor_analysis(x, 1)
    model = LinearGaussian.random(4, 1, seed=3).model()
    loss = MonteCarloEM(model, 16)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.03)
    torch.manual_seed(0)
    for _ in range(250):
        optimizer.zero_grad()
        loss(x).loss.backward()
        optimizer.step()
    reached = float(LinearGaussian.of(model.likelihood).log_evidence(x).mean().detach())
    assert best.log_likelihood - 0.05 < reached <= best.log_likelihood


def test_check_leaves_the_random_numbers_alone():
    loss, (_, x) = MonteCarloEM(models()["off"]), case()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    loss.check(x)
    assert torch.equal(torch.rand(2), expected)


def test_refusals(as_users_run):
    model = models()["exact"]
    with pytest.raises(ValueError, match="draws='guess'"):
        MonteCarloEM(model, draws="guess")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 2"):
        MonteCarloEM(model, 1)
    x = torch.ones(3, 4)
    for options, draws, words in [
        ({"prior": "vamp"}, "importance", "such as MixtureNormal"),
        ({"posterior": "auxiliary-normal"}, "importance", "choose another posterior"),
        ({"prior": "bernoulli"}, "importance", "bounds nothing"),
        ({"prior": "bernoulli", "posterior": "bernoulli"}, "hmc", "take draws='importance'"),
    ]:
        with pytest.raises(ValueError, match=words):
            MonteCarloEM(vae((4,), latent_dim=2, hidden=(3,), **options), draws=draws).check(x)


def test_a_tuple_of_latents_and_a_context_are_passed_on():
    class Pair(torch.distributions.Distribution):
        arg_constraints = {}  # noqa: RUF012
        has_rsample = True

        def __init__(self, loc):
            self.parts = [torch.distributions.Normal(loc, 1.0), torch.distributions.Normal(loc, 2.0)]
            super().__init__(loc.shape[:-1], torch.Size((2,)), validate_args=False)

        def sample(self, sample_shape=()):
            return tuple(part.sample(sample_shape) for part in self.parts)

        rsample = sample

        def log_prob(self, value):
            return sum(part.log_prob(v).sum(-1) for part, v in zip(self.parts, value, strict=True))

    class Given(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.loc, self.size = nn.Parameter(torch.zeros(1)), size

        def forward(self, context=None):
            rows = context[0].shape[:-1] if isinstance(context, tuple) else context.shape[:-1]
            loc = self.loc.expand(*rows, self.size)
            return (
                Pair(loc)
                if self.size == 1
                else torch.distributions.Independent(torch.distributions.Normal(loc, 1.0), 1)
            )

    model = vae((4,), latent_dim=1, hidden=(3,))
    model.prior, model.posterior, model.likelihood = Given(1), Given(1), Given(4)
    x, c = torch.randn(5, 4), torch.randn(5, 3)
    for draws in ("importance", "prior"):
        loss = MonteCarloEM(model, 3, draws)
        loss.check(x, c)
        loss(x, c).loss.backward()
        assert model.likelihood.loc.grad.abs().sum() > 0
