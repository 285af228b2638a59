"""Rates estimated by a discriminator, on linear-Gaussian models whose posterior, rate and information are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence
from torch.nn.functional import linear

import lowerbound as lb
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import AggregateRatio, DensityRatio, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.losses import Aggressive, VariationalLoss
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE, BetaELBO
from lowerbound.posteriors import DiagonalNormal, Implicit
from lowerbound.testing import flat_gradient
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.held_out import HeldOut

EXACT = LinearGaussian(torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.8, -0.2]]), torch.zeros(3), torch.tensor(0.5))


def sampled(noise_dim=2):
    """The model above with a linear sampler for q, whose density is known to the test alone."""
    return EXACT.model(Implicit(MLP(3, [], 4), 2, noise_dim=noise_dim, features=4, hidden=()))


def density_of(model, x):
    """N(A x + b, C Cᵀ) of a linear sampler with four features."""
    q, head = model.posterior, model.posterior.sampler.layers[0]
    noise = head.weight[:, 4:]
    mean = linear(q.net(x), head.weight[:, :4], head.bias)
    return MultivariateNormal(mean, noise @ noise.mT + 1e-9 * torch.eye(2))


def test_a_linear_sampler_draws_what_its_maps_say():
    model, x = sampled(), EXACT.sample(2)
    z, q = model.infer(x).sample((20_000,)), density_of(model, x)
    assert z.shape == (20_000, 2, 2)
    torch.testing.assert_close(z.mean(0), q.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(z[:, 0].mT), q.covariance_matrix[0], atol=0.03, rtol=0.03)


def test_q_comes_within_five_thousandths_of_a_nat_of_the_posterior():
    model, x = sampled(), EXACT.sample(4096)
    for part in (model.prior, model.likelihood):
        part.requires_grad_(False)
    loss = VariationalLoss(model, ELBO(), DensityRatio(2, 3, hidden=32, contrast=32))
    schedule = lb.schedules.Cosine(1e-2, 1e-4, 300)
    *_, record = lb.train(loss, x, num_steps=300, batch_size=256, lr=schedule, log_every=100)
    with torch.no_grad():
        assert kl_divergence(density_of(model, x[:500]), EXACT.posterior(x[:500])).mean() < 0.005
    assert set(record.terms) == {"estimate", "likelihood", "estimated_rate", "cross_entropy"}
    assert record.terms["cross_entropy"] == pytest.approx(math.log(2), abs=0.02)


def with_exact_ratio(gradient, ratio):
    gradient.discriminator.log_ratio = ratio
    return gradient


@pytest.mark.parametrize("contrast", [0, 64])
def test_with_the_exact_ratio_the_gradient_is_that_of_the_elbo(contrast):
    """∇_φ is then sticking the landing's, which drops the same score, and ∇_θ that of all, at the same draws."""
    model = EXACT.model(DiagonalNormal(MLP(3, [], (2, 2)))).double()
    x = EXACT.sample(5).double()
    q, prior = model.infer(x), model.prior()
    gradient = DensityRatio(2, 3, contrast=contrast)
    torch.manual_seed(3)
    pathwise = StickTheLanding().estimate(ELBO(), q, model.joint(x), 4)
    torch.manual_seed(3)
    z = q.rsample((4,))
    r = gradient.reference(q, prior)
    frozen = type(q)(torch.distributions.Normal(q.mean.detach(), q.stddev.detach()), 1)
    gradient = with_exact_ratio(gradient.double(), lambda x, _: frozen.log_prob(z_of[0]) - r.log_prob(z_of[0]))
    z_of = []
    gradient.reference = lambda posterior, prior: r
    units = gradient._in_units
    gradient._in_units = lambda z, r: (z_of or z_of.append(z), units(z, r))[1]
    torch.manual_seed(3)
    estimate = gradient.estimate(ELBO(), q, model.joint(x), 4)
    assert torch.equal(z_of[0], z)
    torch.testing.assert_close(estimate.surrogate, pathwise.surrogate)
    for part in (model.posterior, model.likelihood):
        parameters = list(part.parameters())
        got, expected = (flat_gradient(e.surrogate.sum(), parameters) for e in (estimate, pathwise))
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("gradient", [DensityRatio(2, 3, hidden=8), AggregateRatio(2, hidden=8)])
def test_each_player_has_the_gradient_of_its_own_loss(gradient):
    model, x = sampled(), EXACT.sample(20)
    torch.nn.init.normal_(gradient.discriminator.layers[-1].weight)
    estimate = gradient.estimate(ELBO(), model.infer(x), model.joint(x), 3)
    own, others = list(gradient.parameters()), list(model.parameters())
    log_w = estimate.weights.log_w.mean(0).sum()
    torch.testing.assert_close(estimate.surrogate.sum(), log_w)
    torch.testing.assert_close(flat_gradient(estimate.surrogate.sum(), others), flat_gradient(log_w, others))
    assert (flat_gradient(log_w, own) == 0).all()
    assert flat_gradient(estimate.surrogate.sum(), own).abs().max() > 0


def test_the_gradient_of_a_discriminator_is_that_of_its_cross_entropy():
    discriminator = AggregateRatio(2, hidden=8).discriminator
    torch.nn.init.normal_(discriminator.layers[-1].weight)
    q, p = torch.randn(6, 2, requires_grad=True), torch.randn(6, 2)
    value = discriminator.cross_entropy([q], [p]).mean()
    logits, labels = torch.cat([discriminator(q), discriminator(p)]).squeeze(-1), torch.ones(12)
    labels[6:] = 0
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(value, expected)
    parameters = list(discriminator.parameters())
    torch.testing.assert_close(flat_gradient(value, parameters), flat_gradient(expected, parameters))
    assert (flat_gradient(value, [q]) == 0).all()


@pytest.mark.slow
def test_the_aggregate_ratio_learns_how_far_the_latents_are_from_the_prior():
    """q(z) = N((1, 0), I) for the exact posterior moved by (1, 0): KL(q(z) ‖ p(z)) is ½, which β doubles."""
    model, x = EXACT.model(), EXACT.sample(4096)
    model.requires_grad_(False)
    with torch.no_grad():
        model.posterior.offset[0] += 1
    loss = VariationalLoss(model, BetaELBO(beta=2.0), AggregateRatio(2, hidden=32))
    *_, record = lb.train(loss, x, num_steps=300, batch_size=512, lr=3e-3, log_every=50)
    assert record.terms["estimated_rate"] == pytest.approx(0.5, abs=0.05)
    assert record.terms["estimate"] == pytest.approx(record.terms["likelihood"] - 2 * record.terms["estimated_rate"])


def refusals():
    implicit, gaussian = sampled(), EXACT.model(DiagonalNormal(MLP(3, [], (2, 2))))
    learned = sampled()
    learned.prior = lb.priors.MixtureNormal(2, 2)
    ratio = DensityRatio(2, 3)
    return {
        "iwae": (implicit, IWAE(), ratio, "use elbo:rate=sampled"),
        "closed form": (gaussian, ELBO(rate="kl"), ratio, "use elbo:rate=sampled"),
        "pathwise": (implicit, ELBO(), Pathwise(), r"use DensityRatio\(\) or AggregateRatio\(\)"),
        "score": (implicit, ELBO(), ScoreFunction(baseline=None), "evaluate --annealed"),
        "length": (implicit, ELBO(), DensityRatio(3, 3), "give it their latent_dim"),
        "no noise": (sampled(0), ELBO(), ratio, "give it noise_dim"),
        "learned prior": (learned, ELBO(), AggregateRatio(2), "take a prior without parameters"),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_an_estimate_cannot_serve_is_refused(name):
    model, objective, gradient, told = refusals()[name]
    with pytest.raises(ValueError, match=told):
        VariationalLoss(model, objective, gradient).check(EXACT.sample(4))


def test_what_needs_a_bound_refuses_an_estimate():
    model, x = sampled(), EXACT.sample(4)
    with pytest.raises(ValueError, match="evaluate --annealed"):
        lb.evaluate.log_evidence(model, x, num_samples=4)
    with pytest.raises(ValueError, match="Aggressive weighs draws"):
        Aggressive(model, ELBO(), DensityRatio(2, 3)).check(x)
    w = DensityRatio(2, 3).estimate(ELBO(), model.infer(x), model.joint(x), 1).weights
    with pytest.raises(ValueError, match="estimated rate"):
        IWAE().signal(w)
    loss, held_out = VariationalLoss(model, ELBO(), DensityRatio(2, 3)), HeldOut(source=x, every=2, patience=1)
    with pytest.raises(ValueError, match="leave patience out"):
        next(lb.train(loss, x, num_steps=2, held_out=held_out))


def test_gaps_are_refused_and_so_is_a_context():
    model, x = sampled(), EXACT.sample(4)
    x[1, 0] = float("nan")
    with torch.no_grad(), pytest.raises(ValueError, match="rows with gaps"):
        DensityRatio(2, 3).estimate(ELBO(), model.infer(x), model.joint(x), 1)
    with pytest.raises(ValueError, match="the model is conditional"):
        DensityRatio(2, 3).estimate(ELBO(), model.infer(x), model.joint(x, torch.ones(4, 1)), 1)


@pytest.mark.parametrize("options", [{"contrast": 1}, {"hidden": 0}, {"lr_factor": 0.0}, {"beta1": 1.0}])
def test_sizes_and_rates_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="DensityRatio got"):
        DensityRatio(2, 3, **options)


def test_players_resume_to_the_bit_and_the_last_weights_are_kept(tmp_path):
    x = EXACT.sample(64)

    def run(name, leave_at=None):
        torch.manual_seed(1)
        loss = VariationalLoss(sampled(), ELBO(), DensityRatio(2, 3, contrast=4, hidden=8, lr_factor=3.0))
        held_out = HeldOut(source=x[:16], every=2)
        records = []
        for record in lb.train(
            loss, x, num_steps=8, batch_size=16, lr=0.05, log_every=2, held_out=held_out,
            checkpoint=Checkpoint(path=tmp_path / name),
        ):  # fmt: skip
            records.append((record.terms, record.held_out, record.is_best))
            if record.step == leave_at:
                break
        return records, [p.detach().clone() for p in loss.parameters()]

    whole, last = run("whole")
    run("parts", leave_at=4)
    rest, resumed = run("parts")
    assert rest == whole[2:]
    assert all(torch.equal(a, b) for a, b in zip(last, resumed, strict=True))
    assert not any(is_best for *_, is_best in whole)
