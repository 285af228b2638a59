"""Local optimisation reaches the best of its family on models where that is known."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from torch.distributions import Independent, Normal

from lowerbound import LatentVariableModel, VariationalLoss, infer
from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import Pathwise, ScoreFunction, StickTheLanding
from lowerbound.inference import InferenceWarning, Local
from lowerbound.inference.families import free_parameters
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.priors import StandardNormal
from lowerbound.testing import assert_unbiased, flat_gradient

CONVERGED = {"num_steps": 250, "lr": 0.15, "num_samples": 4}


def poor(data_dim=4, latent_dim=2, size=6):
    """A linear-Gaussian model whose encoder says N(0, I) to every datum, and some data."""
    exact = LinearGaussian.random(data_dim, latent_dim, seed=1)
    zero = torch.zeros(latent_dim, data_dim, dtype=torch.float64)
    posterior = AffineNormal(zero, zero[:, 0], log_scale=zero[:, 0])
    return exact, exact.model(posterior), exact.sample(size)


@pytest.mark.parametrize("start", ["encoder", "prior"])
def test_a_full_gaussian_reaches_the_exact_posterior(start):
    exact, model, x = poor()
    q = Local(**CONVERGED, family="full", start=start, gradient=StickTheLanding())(model, x)
    assert torch.allclose(q.mean, exact.posterior(x).mean, atol=1e-3)
    assert torch.allclose(q.covariance_matrix, exact.posterior(x).covariance_matrix, atol=1e-3)


@pytest.mark.parametrize("family", ["own", "diagonal"])
def test_a_factorised_gaussian_reaches_the_best_of_its_family(family):
    exact, model, x = poor()
    q = Local(num_steps=400, lr=0.1, num_samples=64, family=family)(model, x)
    loss = exact.optimal_elbo(x) - exact.elbo(x, q.mean, scale=q.stddev)
    assert loss.min() > -1e-9
    assert loss.max() < 5e-3
    before = exact.optimal_elbo(x) - exact.elbo(x, torch.zeros(6, 2).double(), scale=torch.ones(6, 2).double())
    assert before.min() > 1


def test_black_box_inference_reaches_it_too():
    exact, model, x = poor()
    q = Local(num_steps=400, lr=0.1, num_samples=64, gradient=ScoreFunction())(model, x)
    assert (exact.optimal_elbo(x) - exact.elbo(x, q.mean, scale=q.stddev)).max() < 2e-2


@pytest.mark.slow
def test_black_box_inference_of_binary_latents_reaches_what_exact_gradients_reach():
    exact = EnumerableBernoulli.random(3, 5, seed=2)
    model, x = exact.model(), torch.ones(2, 5, dtype=torch.float64)
    q = Local(num_steps=500, lr=0.1, num_samples=32, gradient=ScoreFunction())(model, x)
    states = exact.states.double()[:, None].expand(-1, 2, -1)
    target = sum(model.joint(x)(states)).detach()

    def elbo(distribution):
        log_q = distribution.log_prob(states)
        return (log_q.exp() * (target - log_q)).sum(0)

    free, head = free_parameters(model, x, None, "own", "encoder")
    free = free.detach().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(1000):
        (free.grad,) = torch.autograd.grad(-elbo(head(free)).sum(), free)
        optimizer.step()
    assert (elbo(head(free)) - elbo(model.infer(x))).min() > 0.1  # there was something to gain
    assert (elbo(head(free)) - elbo(q)).abs().max() < 0.02


def test_every_datum_is_optimised_by_itself():
    """The optimum of a datum does not move with its neighbours, however badly these are scaled."""
    exact, model, x = poor(size=3)
    x[1] *= 50
    q = Local(**CONVERGED, family="full", gradient=StickTheLanding())(model, x)
    assert torch.allclose(q.mean[[0, 2]], exact.posterior(x).mean[[0, 2]], atol=1e-3)


@pytest.mark.slow
def test_flows_are_refined_in_their_own_family():
    torch.manual_seed(3)
    model = vae((6,), latent_dim=2, hidden=[16], posterior="planar").double()
    x = torch.randn(8, 6, dtype=torch.float64).gt(0).double()
    before = infer(model, x, num_samples=2000).bound
    after = infer(model, x, Local(num_steps=100, num_samples=8), num_samples=2000).bound
    assert (after > before).all()


@pytest.mark.slow
def test_the_outer_step_trains_theta_alone_and_by_the_gradient_of_the_evidence():
    """With the posterior in the family, variational EM is EM: ∇_θ ELBO(θ, q*) = ∇_θ log p(x)."""
    _, model, x = poor(2, 1, 1)
    scheme = Local(num_steps=200, lr=0.1, num_samples=2, family="full", gradient=StickTheLanding())
    loss = VariationalLoss(model, ELBO(), Pathwise(), inference=scheme)
    q = scheme(model, x)
    model.posterior.requires_grad_(False)
    theta = [*model.likelihood.parameters()]
    many = x.expand(20_000, -1)

    def estimate():
        w = loss.gradient.estimate(ELBO(), q.expand((len(many),)), model.joint(many), 1).surrogate.mean()
        return flat_gradient(w, theta)

    truth = flat_gradient(LinearGaussian.of(model.likelihood).log_evidence(x).sum(), theta)
    assert_unbiased(estimate, truth, num_repeats=32)
    model.posterior.requires_grad_(True)
    loss(x).loss.backward()
    assert all(p.grad is None for p in model.posterior.parameters())
    assert all(p.grad is not None for p in theta)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off_and_leaves_no_trace(mode):
    exact, model, x = poor()
    scheme = Local(**CONVERGED, family="full", gradient=StickTheLanding())
    with mode():
        q = scheme(model, x.clone())
        assert not torch.is_grad_enabled()
    assert torch.allclose(q.mean, exact.posterior(x).mean, atol=1e-3)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_gradient_that_cannot_differentiate_the_family_is_refused():
    discrete = EnumerableBernoulli.random(2, 3).model()
    with pytest.raises(ValueError, match=r"use ScoreFunction\(\)"):
        Local()(discrete, torch.ones(1, 3, dtype=torch.float64))


@pytest.mark.parametrize("options", [{"num_steps": 0}, {"num_samples": 0}, {"lr": 0.0}])
def test_numbers_that_are_too_small_are_refused(options):
    with pytest.raises(ValueError, match=f"Local got {next(iter(options))}=0"):
        Local(**options)


class TwoModes(torch.nn.Module):
    """x is z on one side of 0 and −3z on the other: two modes, and the one that is nearer to 0 has more of p(z | x)."""

    def forward(self, z):
        return Independent(Normal(torch.where(z > 0, z, -3 * z), 0.1), 1)


def two_modes():
    zero = torch.zeros(1, 1, dtype=torch.float64)
    return LatentVariableModel(
        prior=StandardNormal(1).double(),
        likelihood=TwoModes(),
        posterior=AffineNormal(zero, zero[:, 0] + 0.3, log_scale=zero[:, 0] - 2),
    )


def test_starts_that_disagree_are_said_and_the_best_is_taken():
    model, x = two_modes(), torch.tensor([[2.5], [0.05]], dtype=torch.float64)
    one = Local(num_steps=80, lr=0.1, num_samples=1)
    assert one(model, x).mean[0] > 2  # the mode on the side of the start
    with pytest.warns(InferenceWarning, match="row 0 most of all, have optima that differ by more than 0.5 nats"):
        several = infer(model, x, replace(one, num_restarts=16))
    assert several.mean[0] < -0.7
    assert several.bound[0] > infer(model, x, one).bound[0] + 1  # log N(−0.83) − log N(2.5) − log 3 = 1.7 nats
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infer(model, x, one)  # nothing to compare with


@pytest.mark.slow
def test_starts_that_agree_are_not_warned_of():
    exact, model, x = poor()
    scheme = Local(num_steps=600, lr=0.15, num_samples=4, family="full", num_restarts=3, gradient=StickTheLanding())
    several = scheme(model, x)
    assert torch.allclose(several.mean, exact.posterior(x).mean, atol=1e-3)


def test_no_start_is_refused():
    with pytest.raises(ValueError, match="num_restarts=0"):
        Local(num_restarts=0)


def test_a_rate_beyond_float32_is_refused():
    with pytest.raises(ValueError, match=r"Local got lr=1e\+308 and needs one above 0, and at most 1e\+30"):
        Local(lr=1e308)
