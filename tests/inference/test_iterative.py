"""Iterative amortised inference: what its update network learns, and from which gradient."""

from __future__ import annotations

import pytest
import torch

from lowerbound import VariationalLoss
from lowerbound.data import InMemory
from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.inference import IterativeAmortised, Local
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.training.loop import train


def case(**options):
    model = vae((4,), latent_dim=2, hidden=[5], activation="tanh").double()
    scheme = IterativeAmortised(2, hidden=6, **options).double()
    return model, scheme, torch.rand(3, 4, dtype=torch.float64).gt(0.5).double()


def shaken(scheme):
    """An update that does something."""
    with torch.no_grad():
        for p in scheme.parameters():
            p += 0.1 * torch.randn_like(p)
    return scheme


@pytest.mark.parametrize("start", ["encoder", "prior"])
def test_an_untrained_update_leaves_q_where_it_starts(start):
    model, scheme, x = case(start=start)
    q, origin = scheme(model, x), model.infer(x)
    if start == "encoder":
        assert torch.allclose(q.mean, origin.mean)
        assert torch.allclose(q.stddev, origin.stddev)
    else:
        assert torch.equal(q.mean, torch.zeros(3, 2).double())


def test_the_gradient_of_the_update_is_that_of_finite_differences(monkeypatch):
    """With a ∇_λ ELBO that is a constant, as the update takes it to be, nothing is left out of any step."""
    model, scheme, x = case(num_steps=3)
    loss = VariationalLoss(model, ELBO(), Pathwise(), 2, inference=shaken(scheme))
    loss.check(x)  # of two rows, before the constant for three stands in
    constant = torch.randn(3, 2, 2, dtype=torch.float64)

    def value():
        torch.manual_seed(3)
        with monkeypatch.context() as patch:
            patch.setattr("lowerbound.inference.iterative.torch.autograd.grad", lambda *_: (constant,))
            return loss(x).loss

    parameters = [*scheme.parameters(), *model.posterior.parameters()]
    gradient = torch.autograd.grad(value(), parameters)
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        direction = [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in parameters]
        ends = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                for p, d in zip(parameters, direction, strict=True):
                    p += shift * d
                ends.append(value())
                for p, d in zip(parameters, direction, strict=True):
                    p -= shift * d
        got = sum((a * b).sum() for a, b in zip(gradient, direction, strict=True))
        assert torch.allclose(got, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("start", ["encoder", "prior"])
def test_who_is_trained(start):
    model, scheme, x = case(start=start)
    VariationalLoss(model, ELBO(), Pathwise(), inference=shaken(scheme))(x).loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in scheme.parameters())
    assert all(p.grad is not None for p in model.likelihood.parameters())
    assert all((p.grad is not None) == (start == "encoder") for p in model.posterior.parameters())


@pytest.mark.slow
def test_it_gains_more_in_four_steps_than_gradient_steps_of_any_length():
    exact = LinearGaussian.random(4, 2, seed=1, dtype=torch.float32)
    zero = torch.zeros(2, 4)
    model = exact.model(AffineNormal(zero, zero[:, 0], log_scale=zero[:, 0])).requires_grad_(False)
    scheme = IterativeAmortised(2, num_steps=4, hidden=32, num_samples=2, start="prior")
    loss = VariationalLoss(model, ELBO(), Pathwise(), inference=scheme)
    [*train(loss, InMemory(exact.sample(2000)), num_steps=150, lr=0.01, batch_size=64, log_every=150)]
    x = exact.sample(300)

    def gap(q):
        return (exact.optimal_elbo(x) - exact.elbo(x, q.mean.detach(), scale=q.stddev.detach())).mean().item()

    best = min(gap(Local(num_steps=4, lr=lr, num_samples=4)(model, x)) for lr in (0.1, 0.2, 0.4, 0.8))
    assert gap(scheme(model, x)) < best / 2 < gap(model.infer(x)) / 4


def test_held_out_evaluation_takes_the_same_steps():
    model, scheme, x = case()
    loss = VariationalLoss(model, ELBO(), Pathwise(), inference=shaken(scheme))
    values = []
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        torch.manual_seed(2)
        with mode():
            values.append(loss(x.clone()).terms["bound"].item())
    assert values[0] == pytest.approx(values[1]) == pytest.approx(values[2])


def test_refusals():
    model, _, x = case()
    with pytest.raises(ValueError, match="was built for latent_dim=3"):
        IterativeAmortised(3).double()(model, x)
    with pytest.raises(ValueError, match="IterativeAmortised got num_steps=0"):
        IterativeAmortised(2, num_steps=0)
    discrete = EnumerableBernoulli.random(2, 4).model()
    with pytest.raises(ValueError, match="needs latents on the real line"):
        IterativeAmortised(2).double()(discrete, x)
