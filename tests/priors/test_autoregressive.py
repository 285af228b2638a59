import itertools

import pytest
import torch
from torch.nn.functional import one_hot

from lowerbound.priors.autoregressive import (
    AutoregressiveBernoulli,
    AutoregressiveCategorical,
    AutoregressiveNormal,
)


def sharpened(prior):
    """Double, and with weights large enough for the conditionals to depend on each other."""
    with torch.no_grad():
        for p in prior.parameters():
            p.mul_(3)
    return prior.double()


def binary_states(size):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=torch.float64)


def one_hot_states(sites, categories):
    latents = torch.tensor(list(itertools.product(range(categories), repeat=sites)))
    return one_hot(latents, categories).double()


def made(kind):
    torch.manual_seed(0)
    if kind == "bernoulli":
        return sharpened(AutoregressiveBernoulli(6, hidden=32)), binary_states(6)
    return sharpened(AutoregressiveCategorical(4, categories=3, hidden=32)), one_hot_states(4, 3)


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_discrete_probabilities_sum_to_one(kind):
    prior, states = made(kind)
    assert prior().log_prob(states).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_it_is_not_factorised(kind):
    prior, states = made(kind)
    p = prior().log_prob(states).exp().detach()
    event = states.flatten(1)
    mean = p @ event
    covariance = event.T @ (p[:, None] * event) - mean[:, None] * mean
    last = states[0].numel() // states.shape[1]
    assert covariance[:last, -last:].abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_samples_follow_the_density(kind):
    prior, states = made(kind)
    p = prior().log_prob(states).exp().detach()
    z = prior().sample(torch.Size((200, 100))).flatten(0, 1)
    key = (z.flatten(1)[:, None] == states.flatten(1)).all(-1).double()
    assert torch.equal(key.sum(1), torch.ones(len(z), dtype=torch.float64))
    statistic = ((key.sum(0) - len(z) * p) ** 2 / (len(z) * p)).sum()
    degrees = len(states) - 1
    assert float(statistic) < degrees + 6 * (2 * degrees) ** 0.5


def test_the_chain_rule_holds_by_hand():
    prior, states = made("bernoulli")
    p = prior().log_prob(states).exp()
    for d in range(6):
        same = (states[:, None, :d] == states[None, :, :d]).all(-1).double()
        up_to = same * (states[:, None, d] == states[None, :, d])
        conditional = (up_to @ p) / (same @ p)
        logit = prior._conditionals(states).logits[:, d]
        expected = torch.where(states[:, d] == 1, logit.sigmoid(), (-logit).sigmoid())
        torch.testing.assert_close(conditional, expected)


@pytest.mark.parametrize("outputs", [AutoregressiveNormal, AutoregressiveBernoulli])
def test_no_site_sees_itself_or_a_later_one_and_each_sees_all_earlier(outputs):
    torch.manual_seed(0)
    prior = outputs(5, hidden=64).double()
    jacobian = torch.autograd.functional.jacobian(prior.net, torch.randn(5, dtype=torch.float64))
    dependence = jacobian.view(5, -1, 5).abs().amax(1) > 0
    assert torch.equal(dependence, torch.ones(5, 5, dtype=torch.bool).tril(-1))


def test_the_normal_integrates_to_one_in_two_dimensions():
    torch.manual_seed(0)
    prior = AutoregressiveNormal(2, hidden=16).double()
    axis = torch.linspace(-15, 15, 901, dtype=torch.float64)
    with torch.no_grad():
        density = prior().log_prob(torch.cartesian_prod(axis, axis)).exp().view(901, 901)
    assert float(torch.trapezoid(torch.trapezoid(density, axis), axis)) == pytest.approx(1, abs=1e-6)


def test_the_normal_is_a_product_of_conditionals():
    torch.manual_seed(0)
    prior = AutoregressiveNormal(3, hidden=16).double()
    z = torch.randn(4, 3, dtype=torch.float64)
    conditionals = prior._conditionals(z)
    expected = torch.stack(
        [
            torch.distributions.Normal(conditionals.loc[:, d], conditionals.scale[:, d]).log_prob(z[:, d])
            for d in range(3)
        ]
    ).sum(0)
    torch.testing.assert_close(prior().log_prob(z), expected)


def test_normal_samples_are_standardised_by_their_own_conditionals():
    torch.manual_seed(0)
    prior = sharpened(AutoregressiveNormal(3, hidden=16))
    with torch.no_grad():
        z = prior().sample(torch.Size((20_000,)))
        conditionals = prior._conditionals(z)
        noise = (z - conditionals.loc) / conditionals.scale
    assert (noise.mean(0).abs() < 5 / 20_000**0.5).all()
    torch.testing.assert_close(noise.T.cov(), torch.eye(3, dtype=torch.float64), atol=0.05, rtol=0)


def test_rsample_differentiates_through_earlier_sites():
    torch.manual_seed(0)
    prior = AutoregressiveNormal(3, hidden=16).double()
    p = prior()
    assert p.has_rsample
    bias = prior.net[-1].bias

    def last(value):
        torch.manual_seed(1)
        with torch.no_grad():
            bias[0] = value
        return prior().rsample(torch.Size((4,)))[:, 2].sum()

    start, step = bias[0].item(), 1e-6
    (gradient,) = torch.autograd.grad(last(start), bias)
    difference = (last(start + step) - last(start - step)) / (2 * step)
    assert float(gradient[0]) != 0  # z_3 depends on the mean of z_1 through z_1 alone
    torch.testing.assert_close(gradient[0], difference.detach(), rtol=1e-5, atol=1e-8)


def test_discrete_sites_have_no_rsample():
    p = AutoregressiveBernoulli(3)()
    assert not p.has_rsample
    with pytest.raises(NotImplementedError):
        p.rsample()


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_gradients_are_finite_and_reach_every_layer(kind):
    prior, states = made(kind)
    prior().log_prob(states).sum().backward()
    assert all(p.grad.isfinite().all() and (p.grad != 0).any() for p in prior.parameters())


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="latent_shape=1"):
        AutoregressiveNormal(1)
    with pytest.raises(ValueError, match="hidden=4, layers=2 for latent_shape=20"):
        AutoregressiveBernoulli(20, hidden=4)
