"""The oracles against scipy, brute force and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian, normal_bound
from lowerbound.likelihoods import Normal as NormalLikelihood
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import check_conditional, flat_gradient

SIZES = [(5, 2), (2, 5), (1, 1)]


def case(data_dim, latent_dim, shared=False):
    exact = LinearGaussian.random(data_dim, latent_dim)
    if shared:
        exact = LinearGaussian(exact.weight, exact.offset, torch.tensor(0.7, dtype=torch.float64))
    return exact, exact.sample(4)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shared", [False, True])
def test_log_evidence_is_the_density_of_the_marginal(sizes, shared):
    exact, x = case(*sizes, shared)
    noise = torch.diag((exact.scale**2).expand(sizes[0]))
    covariance = exact.weight @ exact.weight.mT + noise
    expected = stats.multivariate_normal(exact.offset.numpy(), covariance.numpy()).logpdf(x.numpy())
    assert torch.allclose(exact.log_evidence(x), torch.as_tensor(expected).reshape(4))


@pytest.mark.parametrize("sizes", SIZES)
def test_bayes_rule_holds_at_every_latent(sizes):
    """log p(x) = log p(x | z) + log p(z) − log p(z | x) for any z, through an independent path."""
    exact, x = case(*sizes)
    z = torch.randn(4, sizes[1], dtype=torch.float64)
    joint = Normal(z @ exact.weight.mT + exact.offset, exact.scale).log_prob(x).sum(-1)
    joint = joint + Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert torch.allclose(joint - exact.posterior(x).log_prob(z), exact.log_evidence(x))


@pytest.mark.parametrize("sizes", SIZES)
def test_elbo_is_evidence_minus_kl(sizes):
    exact, x = case(*sizes)
    mean = torch.randn(4, sizes[1], dtype=torch.float64)
    scale = torch.rand(4, sizes[1], dtype=torch.float64) + 0.1
    factor = torch.randn(4, sizes[1], sizes[1], dtype=torch.float64)
    covariance = factor @ factor.mT + 0.1 * torch.eye(sizes[1], dtype=torch.float64)
    for arguments, q in [
        ({"scale": scale}, MultivariateNormal(mean, torch.diag_embed(scale**2))),
        ({"covariance": covariance}, MultivariateNormal(mean, covariance)),
    ]:
        expected = exact.log_evidence(x) - kl_divergence(q, exact.posterior(x))
        assert torch.allclose(exact.elbo(x, mean, **arguments), expected)


def test_elbo_needs_one_spread():
    exact, x = case(2, 1)
    with pytest.raises(ValueError, match="one of scale="):
        exact.elbo(x, torch.zeros(4, 1, dtype=torch.float64))


@pytest.mark.parametrize("sizes", SIZES)
def test_optimal_diagonal_is_a_stationary_maximum(sizes):
    exact, x = case(*sizes)
    mean, scale = exact.optimal_diagonal(x)
    mean, scale = mean.clone().requires_grad_(), scale.clone().requires_grad_()
    best = exact.elbo(x, mean, scale=scale)
    assert torch.allclose(best, exact.optimal_elbo(x))
    assert flat_gradient(best.sum(), [mean, scale]).abs().max() < 1e-9
    for _ in range(20):
        other = scale.detach() * torch.exp(0.3 * torch.randn_like(scale))
        assert (exact.elbo(x, mean + 0.1 * torch.randn_like(mean), scale=other) <= best).all()


def test_samples_have_the_moments_of_the_marginal():
    exact, _ = case(3, 2)
    x = exact.sample(200_000)
    covariance = exact.weight @ exact.weight.mT + torch.diag(exact.scale**2)
    se = (torch.outer(covariance.diagonal(), covariance.diagonal()) + covariance**2).sqrt() / 447
    assert ((x.T.cov() - covariance).abs() < 5 * se).all()
    assert ((x.mean(0) - exact.offset).abs() < 5 * covariance.diagonal().sqrt() / 447).all()


@pytest.mark.parametrize("shared", [False, True])
def test_model_has_constant_weights_at_its_exact_posterior(shared):
    exact, x = case(5, 2, shared)
    log_w = exact.model().log_weights(x, num_samples=6).log_w
    assert torch.allclose(log_w, exact.log_evidence(x).expand(6, 4), atol=1e-10)


def test_model_round_trip_and_gradient_into_its_parameters():
    exact, x = case(5, 2)
    model = exact.model()
    again = LinearGaussian.of(model.likelihood)
    assert torch.allclose(again.scale, exact.scale)
    assert torch.equal(again.weight, exact.weight)
    gradient = flat_gradient(again.log_evidence(x).sum(), model.likelihood.parameters())
    assert (gradient != 0).all()


@pytest.mark.parametrize("scale", [0.3, "shared"])
def test_of_reads_every_scale(scale):
    likelihood = NormalLikelihood(MLP(2, [], 3), scale=scale)
    exact = LinearGaussian.of(likelihood)
    expected = likelihood(torch.zeros(1, 2)).base_dist.scale[0]
    assert torch.allclose(exact.scale.expand(3), expected)


@pytest.mark.parametrize(
    "likelihood",
    [NormalLikelihood(MLP(2, [4], 3)), NormalLikelihood(MLP(2, [], (2, 3)), "heteroscedastic")],
)
def test_of_refuses_what_has_no_closed_form(likelihood):
    with pytest.raises(ValueError, match="linear MLP"):
        LinearGaussian.of(likelihood)


@pytest.mark.parametrize("diagonal", [False, True])
def test_posterior_module_is_the_posterior_or_the_optimal_diagonal(diagonal):
    exact, x = case(5, 2)
    module = exact.posterior_module(diagonal=diagonal)
    q = module(x)
    check_conditional(module, x)
    if diagonal:
        mean, scale = exact.optimal_diagonal(x)
        expected = Independent(Normal(mean, scale), 1)
        assert torch.allclose(q.base_dist.loc, mean)
        assert torch.allclose(q.base_dist.scale, scale)
    else:
        expected = exact.posterior(x)
    z = expected.sample((3,))
    assert torch.allclose(q.log_prob(z), expected.log_prob(z))


def test_affine_normal_needs_one_spread():
    with pytest.raises(ValueError, match="exactly one"):
        AffineNormal(torch.zeros(2, 3), torch.zeros(2))


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_enumeration_against_loops(hidden):
    """log p(x), the ELBO and IWAE-2 by Python loops over states."""
    exact = EnumerableBernoulli.random(3, 4, hidden)
    x = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0]], dtype=torch.float64)
    model, q = exact.model(), exact.model().infer(x)
    log_w, log_q, evidence = {}, {}, 0.0
    for bits in itertools.product([0.0, 1.0], repeat=3):
        z = torch.tensor(bits, dtype=torch.float64)
        log_q[bits] = q.log_prob(z)
        log_p = model.decode(z[None]).log_prob(x) + model.prior(None).log_prob(z)
        log_w[bits] = log_p - log_q[bits]
        evidence = evidence + log_p.exp()
    assert torch.allclose(exact.log_evidence(x), evidence.log())
    elbo = sum(log_q[z].exp() * log_w[z] for z in log_w)
    assert torch.allclose(exact.elbo(x), elbo)
    pairs = itertools.product(log_w, log_w)
    iwae = sum((log_q[a] + log_q[b]).exp() * (torch.logaddexp(log_w[a], log_w[b]) - math.log(2)) for a, b in pairs)
    assert torch.allclose(exact.iwae(x, 2), iwae)


def test_evidence_sums_to_one_over_every_datum():
    exact = EnumerableBernoulli.random(2, 5, (3,))
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 5)
    assert math.isclose(exact.log_evidence(x).exp().sum().item(), 1.0, rel_tol=1e-12)


def test_closed_rates_agree_with_the_sampled_one_in_expectation():
    exact = EnumerableBernoulli.random(3, 4)
    x = torch.ones(1, 4, dtype=torch.float64)
    for rate in ("kl", "entropy"):
        assert torch.allclose(exact.bound(ELBO(rate=rate), x, 1), exact.elbo(x))


def test_bounds_rise_towards_the_evidence():
    exact = EnumerableBernoulli.random(3, 4)
    x = torch.ones(1, 4, dtype=torch.float64)
    values = [exact.iwae(x, k) for k in range(1, 6)] + [exact.log_evidence(x)]
    assert all(a < b for a, b in itertools.pairwise(values))
    assert torch.allclose(values[0], exact.elbo(x))


def test_enumeration_refuses_what_it_cannot_sum():
    with pytest.raises(ValueError, match="latent_dim=11"):
        EnumerableBernoulli.random(11, 2)
    exact = EnumerableBernoulli.random(10, 2)
    with pytest.raises(ValueError, match="terms per datum"):
        exact.iwae(torch.ones(1, 2, dtype=torch.float64), 3)


def test_quadrature_of_the_elbo_is_the_closed_form():
    exact, x = case(3, 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    q = model.infer(x).base_dist
    with torch.no_grad():
        model.posterior.log_scale += 0.5
        model.posterior.offset += 0.3
    expected = exact.elbo(x, q.loc + 0.3, scale=q.scale * math.exp(0.5))
    for rate in ("sampled", "entropy", "kl"):
        assert torch.allclose(normal_bound(model, ELBO(rate=rate), x, 1, num_nodes=4), expected)


def test_quadrature_of_iwae_against_an_adaptive_integral():
    exact, x = case(2, 1)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.3
        q = model.infer(x[:1]).base_dist
        loc, scale = q.loc.item(), q.scale.item()
        grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None, None]
        z = loc + scale * grid
        joint, prior = model.joint(x[:1])(z)
        log_w = (joint + prior - model.infer(x[:1]).log_prob(z))[:, 0].numpy()
    e = grid[:, 0, 0].numpy()

    def inner(a, wa):
        value = np.logaddexp(wa, log_w) - math.log(2)
        return integrate.simpson(value * stats.norm.pdf(e), x=e) * stats.norm.pdf(a)

    outer = [inner(a, wa) for a, wa in zip(e[::40], log_w[::40], strict=True)]
    expected = integrate.simpson(outer, x=e[::40])
    got = normal_bound(model, IWAE(), x[:1], 2)
    assert abs(got.item() - expected) < 1e-6


def test_quadrature_refuses_another_posterior():
    exact, x = case(3, 2)
    with pytest.raises(ValueError, match="Independent"):
        normal_bound(exact.model(), ELBO(), x, 1)
