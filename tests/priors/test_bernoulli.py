import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from lowerbound.priors.bernoulli import Bernoulli


def made():
    prior = Bernoulli(3).double()
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([-1.0, 0.3, 2.0]))
    return prior


def test_log_prob_is_that_of_scipy_and_sums_to_one():
    prior = made()
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    log_p = prior().log_prob(states)
    pi = torch.sigmoid(prior.logits).detach().numpy()
    expected = stats.bernoulli.logpmf(states.numpy(), pi).sum(-1)
    np.testing.assert_allclose(log_p.detach().numpy(), expected, rtol=1e-10)
    assert log_p.exp().sum().item() == pytest.approx(1)


def test_it_is_linear_in_z_so_that_relaxed_latents_differentiate():
    prior = made()
    z = torch.full((3,), 0.4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(prior().log_prob(z), z)
    torch.testing.assert_close(gradient, prior.logits.detach())


def test_the_gradient_of_the_logits_is_z_minus_pi():
    prior = made()
    z = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(prior().log_prob(z), prior.logits)
    torch.testing.assert_close(gradient, (z - torch.sigmoid(prior.logits)).detach())


def test_it_starts_at_a_half_and_can_be_fixed():
    assert torch.equal(Bernoulli(2)().mean, torch.full((2,), 0.5))
    assert not any(p.requires_grad for p in Bernoulli(2, learned=False).parameters())


def test_the_kl_to_itself_has_a_closed_form():
    p = made()()
    assert kl_divergence(p, p).item() == pytest.approx(0)
    assert p.sample(torch.Size((4, 5))).shape == (4, 5, 3)
