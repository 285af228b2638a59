"""p(x | z) of binary data."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from lowerbound.likelihoods import Bernoulli
from lowerbound.nets import MLP
from lowerbound.testing import check_conditional


def test_density_is_that_of_scipy_summed_over_every_pixel():
    likelihood = Bernoulli(MLP(2, [5], (3, 4))).double()
    z, x = torch.randn(7, 6, 2, dtype=torch.float64), torch.rand(6, 3, 4, dtype=torch.float64).round()
    probability = likelihood(z).mean.detach().numpy()
    expected = stats.bernoulli(probability).logpmf(x.numpy()).sum((-1, -2))
    assert torch.allclose(likelihood(z).log_prob(x), torch.from_numpy(expected))


def test_twice_the_pixels_are_twice_the_nats():
    likelihood = Bernoulli(nn.Identity(), event_shape=8)
    logits = torch.full((1, 8), 0.3)
    one = Bernoulli(nn.Identity(), event_shape=4)(logits[:, :4]).log_prob(torch.ones(1, 4))
    assert torch.allclose(likelihood(logits).log_prob(torch.ones(1, 8)), 2 * one)


def test_grey_values_give_the_cross_entropy():
    x, logits = torch.tensor([[0.25]]), torch.tensor([[0.7]])
    p = Bernoulli(nn.Identity(), event_shape=1)(logits)
    expected = 0.25 * p.log_prob(torch.ones(1, 1)) + 0.75 * p.log_prob(torch.zeros(1, 1))
    assert torch.allclose(p.log_prob(x), expected)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_scoring_without_gradients_gives_the_same_number(dtype, tolerance):
    logits, x = 60 * torch.randn(5, 3, 4, 6, dtype=dtype), torch.rand(3, 4, 6, dtype=dtype)
    p = Bernoulli(nn.Identity(), event_shape=(4, 6))(logits)
    expected = p.log_prob(x)
    with torch.no_grad():
        torch.testing.assert_close(p.log_prob(x), expected, rtol=tolerance, atol=0.0)
        torch.testing.assert_close(p.expand((2, 5, 3)).log_prob(x)[1], expected, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize("pixels", [1, 12, 97, 127, 784, 3072])
def test_however_many_pixels_their_probabilities_do_not_underflow(pixels):
    p = Bernoulli(nn.Identity(), event_shape=pixels)(torch.zeros(2, pixels))
    with torch.no_grad():
        found = p.log_prob(torch.ones(2, pixels))
    torch.testing.assert_close(found, torch.full((2,), -pixels * math.log(2)), rtol=1e-6, atol=0.0)


def test_conforms():
    check_conditional(Bernoulli(MLP(2, [5], (3, 4))).double(), torch.randn(6, 2, dtype=torch.float64))
    check_conditional(Bernoulli(MLP([2, 3], [5], 4)), (torch.randn(6, 2), torch.randn(6, 3)))


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_logits_stay_finite(logit):
    logits = torch.full((1, 3), logit, requires_grad=True)
    log_p = Bernoulli(nn.Identity(), event_shape=3)(logits).log_prob(torch.tensor([[0.0, 1.0, 0.0]]))
    (gradient,) = torch.autograd.grad(log_p.sum(), logits)
    assert log_p.isfinite().all()
    assert gradient.isfinite().all()


def test_initialize_puts_the_bias_at_the_mean_datum():
    likelihood = Bernoulli(MLP(2, [5], (2, 2)))
    likelihood.initialize(torch.tensor([[[0.0, 1], [1, 1]], [[0, 1], [0, 1]]]))
    got = likelihood.net.output_bias.sigmoid()
    assert torch.allclose(got, torch.tensor([[0.01, 0.99], [0.5, 0.99]]), atol=1e-5)


def test_shapes():
    assert Bernoulli.parameter_shape((3, 4)) == (3, 4)
    with pytest.raises(ValueError, match="pass event_shape="):
        Bernoulli(nn.Identity())


def test_the_slope_is_the_derivative_of_autograd():
    torch.manual_seed(0)
    z, x = torch.randn(3, 4, 2, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)  # grey values too
    logits, slope = Bernoulli(MLP(2, [3], 5).double())(z).slope(x)
    assert logits.requires_grad
    at = logits.detach().requires_grad_()
    p = type(Bernoulli(MLP(2, [3], 5))(z.float()))(at, 1)
    torch.testing.assert_close(slope, torch.autograd.grad(p.log_prob(x).sum(), at)[0])
