"""Whitened vectors: their moments, the gradient of the moments of a batch, and the running means."""

from __future__ import annotations

import pytest
import torch

from lowerbound.nets import Whitening


def correlated(count=500, seed=0):
    """Vectors whose second number is nearly the first."""
    torch.manual_seed(seed)
    f = torch.randn(count, 3, dtype=torch.float64)
    f[:, 1] = f[:, 0] + 0.1 * f[:, 1]
    return 3 * f + torch.tensor([5.0, -2.0, 0.0])


def at_the_moments_of(f):
    """In training, with the moments of these vectors as running ones."""
    whitening = Whitening(f.shape[-1]).double()
    whitening.observe(f)
    whitening.advance(1.0)
    return whitening


def by_hand(f):
    """By the moments of the batch themselves."""
    covariance = f.T.cov(correction=0)
    covariance = covariance + 1e-4 * covariance.trace() / len(covariance) * torch.eye(len(covariance)).double()
    return (f - f.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(covariance)).T


def test_whitened_vectors_have_mean_zero_and_covariance_one():
    f = correlated()
    s = at_the_moments_of(f).eval()(f.view(50, 10, 3)).view(-1, 3)
    torch.testing.assert_close(s.mean(0), torch.zeros(3).double())
    torch.testing.assert_close(s.T.cov(correction=0), torch.eye(3).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(s, by_hand(f))


def test_the_gradient_is_that_of_the_moments_of_the_batch():
    f, weight = correlated().requires_grad_(), torch.rand(500, 3, dtype=torch.float64)
    whitening = at_the_moments_of(f.detach())
    ours, theirs = whitening(f), by_hand(f)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad((s.tanh() * weight).sum(), f)[0] for s in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=0)
    assert gradients[0].abs().max() > 1e-3


def test_values_are_those_of_the_running_moments_and_no_step_moves_all_vectors_alike():
    whitening, f = at_the_moments_of(correlated()), correlated(20, seed=1).requires_grad_()
    s = whitening(f)
    torch.testing.assert_close(s, whitening.eval()(f.detach()))
    torch.testing.assert_close(s[:3], whitening(f[:3]))
    (along,) = torch.autograd.grad((s * torch.rand(20, 3).double()).sum(), f)
    torch.testing.assert_close(along.sum(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    assert along.abs().max() > 1e-3


def test_running_moments_are_means_over_batches():
    """Those of a batch count a tenth; parts of a batch are one batch; without a batch nothing moves."""
    one, two = correlated(40, seed=1), correlated(40, seed=2)
    whitening = at_the_moments_of(one)
    whitening.observe(two[:10])
    whitening.observe(two[10:])
    torch.testing.assert_close(whitening.mean, one.mean(0))  # not before the next step
    for _ in range(2):
        whitening.advance()
        torch.testing.assert_close(whitening.mean, 0.9 * one.mean(0) + 0.1 * two.mean(0))
        expected = 0.9 * one.T.cov(correction=0) + 0.1 * two.T.cov(correction=0)
        torch.testing.assert_close(whitening.covariance, expected)


@pytest.mark.parametrize("f", [torch.full((5, 2), 3.0), torch.zeros(1, 2)], ids=["all alike", "one"])
def test_vectors_without_a_spread_stay_finite(f):
    whitening = at_the_moments_of(f.double()).float()
    f = f.clone().requires_grad_()
    s = whitening(f)
    s.sum().backward()
    assert s.isfinite().all()
    assert f.grad.isfinite().all()


def _going_together(num: int = 1001) -> torch.Tensor:
    torch.manual_seed(0)
    base = torch.randn(num, 1)
    return 3 + torch.cat([base, base + 0.02 * torch.randn(num, 1), 0.02 * torch.randn(num, 1) - base], 1)


def test_autocast_does_not_round_the_moments_nor_their_factor():
    f = _going_together().requires_grad_()
    found = []
    for low in (False, True):
        whitening = Whitening(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            whitening.start(f.detach())
            s = whitening(f)
        found.append((s.detach(), *torch.autograd.grad(s.square().sum(), f)))
    for own, expected in zip(*found, strict=True):
        assert own.isfinite().all()
        assert torch.equal(own, expected)


def test_the_first_moments_are_those_of_vectors_far_from_zero():
    torch.manual_seed(0)
    f = 1000 + torch.randn(500, 3) / 8
    whitening = Whitening(3)
    whitening.start(f)
    torch.testing.assert_close(whitening.covariance, f.double().T.cov(correction=0).float(), rtol=1e-3, atol=1e-5)
