"""Reweighted wake-sleep against enumeration: the bound for θ, the other divergence for φ."""

from __future__ import annotations

import functools

import pytest
import torch

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import ReweightedWakeSleep
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import assert_unbiased, check_gradient, flat_gradient

NUM_SAMPLES, NUM_REPEATS, COPIES = 3, 48, 10_000


@functools.cache
def case():
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    return exact, exact.model(), torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)


def theta_and_phi(model):
    return [*model.prior.parameters(), *model.likelihood.parameters()], [*model.posterior.parameters()]


def everywhere(exact, model, x):
    """log p(x, z) and log q(z | x) at every state, (state,)."""
    z = exact.states.to(x)[:, None]
    return sum(model.joint(x)(z))[:, 0], model.infer(x).log_prob(z)[:, 0]


def expected_wake(exact, model, x, num_samples):
    """E[Σ_s w̃_s ∇_φ log q(z_s)] over all tuples of states."""
    log_p, log_q = everywhere(exact, model, x)
    index = torch.cartesian_prod(*[torch.arange(len(log_q))] * num_samples).reshape(-1, num_samples)
    weights = torch.softmax((log_p - log_q)[index], 1)
    probability = log_q[index].sum(1).exp()
    value = (probability.detach() * (weights.detach() * log_q[index]).sum(1)).sum()
    return flat_gradient(value, theta_and_phi(model)[1])


def inclusive_divergence(exact, model, x):
    """KL(p(z | x) ‖ q(z | x))."""
    log_p, log_q = everywhere(exact, model, x)
    log_posterior = (log_p - torch.logsumexp(log_p, 0)).detach()
    return (log_posterior.exp() * (log_posterior - log_q)).sum()


@functools.cache
def repeats():
    """Gradients of the mean surrogate over many copies of a datum: (repeat, θ) and (repeat, φ)."""
    _, model, x = case()
    loss = VariationalLoss(model, IWAE(), ReweightedWakeSleep(), NUM_SAMPLES)
    loss.check(x)
    parts = theta_and_phi(model)
    torch.manual_seed(0)
    rows = [flat_gradient(-loss(x.expand(COPIES, -1)).loss, [*parts[0], *parts[1]]) for _ in range(NUM_REPEATS)]
    return torch.stack(rows).split([sum(p.numel() for p in part) for part in parts], 1)


def test_theta_has_the_gradient_of_iwae():
    exact, model, x = case()
    truth = flat_gradient(exact.iwae(x, NUM_SAMPLES).sum(), theta_and_phi(model)[0])
    assert_unbiased(lambda: repeats()[0], truth, num_repeats=NUM_REPEATS)


def test_phi_has_the_expectation_of_the_self_normalised_estimator():
    truth = expected_wake(*case(), NUM_SAMPLES)
    assert_unbiased(lambda: repeats()[1], truth, num_repeats=NUM_REPEATS)


@pytest.mark.parametrize("objective", ["bound", "divergence"])
def test_phi_is_biased_indeed_for_the_bound_and_for_finitely_many_samples(objective):
    exact, model, x = case()
    value = exact.iwae(x, NUM_SAMPLES).sum() if objective == "bound" else -inclusive_divergence(*case())
    truth = flat_gradient(value, theta_and_phi(model)[1])
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: repeats()[1], truth, num_repeats=NUM_REPEATS)


def test_phi_descends_the_other_divergence_as_the_samples_grow():
    """The bias is the whole gradient at one sample, and falls as 1/S."""
    exact = EnumerableBernoulli.random(1, 3, seed=3)
    model, x = exact.model(), case()[2]
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.3)  # weights that vary little, or 1/S would need more samples than can be enumerated
    limit = flat_gradient(-inclusive_divergence(exact, model, x), theta_and_phi(model)[1])
    sizes = [1, 4, 8, 16]
    bias = [float((expected_wake(exact, model, x, s) - limit).norm() / limit.norm()) for s in sizes]
    assert bias[0] == pytest.approx(1)
    assert bias == sorted(bias, reverse=True)
    scaled = [s * b for s, b in zip(sizes[1:], bias[1:], strict=True)]
    assert max(scaled) < 1.1 * min(scaled), bias


def test_value_and_theta_gradient_are_those_of_the_bound_for_discrete_and_continuous_latents():
    _, model, x = case()
    assert check_gradient(ReweightedWakeSleep(), IWAE(), model, x.expand(5, -1))
    exact = LinearGaussian.random(3, 2)
    assert check_gradient(ReweightedWakeSleep(), IWAE(), exact.model(), exact.sample(5))


def test_phi_gets_nothing_from_the_bound_itself():
    """At equal weights what is left is the mean score; through the value it would be zero in all."""
    exact = LinearGaussian.random(3, 2)
    x = exact.sample(1)
    model = exact.model()
    torch.manual_seed(0)
    estimate = ReweightedWakeSleep().estimate(IWAE(), model.infer(x), model.joint(x), 4)
    got = flat_gradient(estimate.surrogate.sum(), model.posterior.parameters())
    z = estimate.weights.z
    assert not z.requires_grad
    score = flat_gradient(model.infer(x).log_prob(z).mean(0).sum(), model.posterior.parameters())
    torch.testing.assert_close(got, score)


def test_held_out_evaluation():
    _, model, x = case()
    with torch.no_grad():
        output = VariationalLoss(model, IWAE(), ReweightedWakeSleep(), 4)(x)
    assert output.loss == -output.terms["bound"]


def test_refusals():
    _, model, x = case()
    with pytest.raises(ValueError, match=r"use IWAE\(\), or losses.WakeSleep"):
        VariationalLoss(model, ELBO(), ReweightedWakeSleep(), 4).check(x)
    with pytest.raises(ValueError, match="needs at least 2"):
        VariationalLoss(model, IWAE(), ReweightedWakeSleep(), 1)(x)
