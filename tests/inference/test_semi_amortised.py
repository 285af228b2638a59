"""Semi-amortised inference: its gradient against finite differences, and what its steps gain."""

from __future__ import annotations

import pytest
import torch

from lowerbound import VariationalLoss
from lowerbound.data import InMemory
from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.inference import SemiAmortised
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.testing import flat_gradient
from lowerbound.training.loop import train


def case(posterior="diagonal-normal"):
    model = vae((4,), latent_dim=2, hidden=[5], activation="tanh", posterior=posterior).double()
    return model, torch.rand(3, 4, dtype=torch.float64).gt(0.5).double()


def value(loss, x):
    """The loss at the same draws every time."""
    torch.manual_seed(7)
    return loss(x).loss


def finite_difference(loss, x, direction):
    parameters, eps = [*loss.parameters()], 1e-7  # nets with kinks make the value jump: few within reach

    def at(shift):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += shift * d
            result = value(loss, x)
            for p, d in zip(parameters, direction, strict=True):
                p -= shift * d
            return result

    return (at(eps) - at(-eps)) / (2 * eps)


@pytest.mark.parametrize(
    "posterior, options",
    [
        ("diagonal-normal", {}),
        ("diagonal-normal", {"objective": ELBO(rate="kl")}),
        ("diagonal-normal", {"family": "full"}),
        ("full-normal", {}),
        ("planar", {}),
        *[(name, {}) for name in ("low-rank-normal", "sylvester", "iaf", "auxiliary-normal")],
    ],
)
def test_the_gradient_through_the_inner_steps_is_that_of_finite_differences(posterior, options):
    model, x = case(posterior)
    scheme = SemiAmortised(num_steps=3, lr=0.3, num_samples=2, **options)
    loss = VariationalLoss(model, ELBO(), Pathwise(), 2, inference=scheme)
    parameters = [*loss.parameters()]
    gradient = torch.autograd.grad(value(loss, x), parameters)
    for part in (model.posterior, model.likelihood):  # θ and φ apart: neither hides a mistake in the other
        chosen = {id(p) for p in part.parameters()}
        for seed in range(2):
            g = torch.Generator().manual_seed(seed)
            direction = [torch.randn(p.shape, generator=g, dtype=p.dtype) * (id(p) in chosen) / 5 for p in parameters]
            expected = finite_difference(loss, x, direction)
            got = sum((a * b).sum() for a, b in zip(gradient, direction, strict=True))
            assert torch.allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_second_derivatives_are_a_large_part_of_it():
    """Else the test above could not tell them from nothing."""
    model, x = case()
    loss = VariationalLoss(model, ELBO(), Pathwise(), 2, inference=SemiAmortised(num_steps=3, lr=0.3))
    whole = flat_gradient(value(loss, x), [*model.posterior.parameters()])
    inner = torch.autograd.grad

    def first_order(*arguments, create_graph=False):
        return tuple(g.detach() for g in inner(*arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowerbound.inference.semi_amortised.torch.autograd.grad", first_order)
        surrogate = value(loss, x)
    without = flat_gradient(surrogate, [*model.posterior.parameters()])
    assert (whole - without).norm() > 0.05 * whole.norm()


def test_its_steps_close_the_gap_of_the_encoder():
    exact = LinearGaussian.random(4, 2, seed=1)
    zero = torch.zeros(2, 4, dtype=torch.float64)
    model, x = exact.model(AffineNormal(zero, zero[:, 0], log_scale=zero[:, 0])), exact.sample(20)
    gaps = []
    for steps in (1, 10, 100):
        q = SemiAmortised(num_steps=steps, lr=0.03, num_samples=64)(model, x)
        gaps.append((exact.optimal_elbo(x) - exact.elbo(x, q.mean, scale=q.stddev)).mean().item())
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2] >= 0
    assert gaps[2] < 0.05


def test_held_out_evaluation_takes_the_same_steps():
    model, x = case()
    loss = VariationalLoss(model, ELBO(), Pathwise(), 2, inference=SemiAmortised(num_steps=3, lr=0.3))
    trained = value(loss, x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.allclose(value(loss, x), trained)
            assert not loss.model.infer(x).mean.requires_grad
    assert loss.model.infer(x).mean.requires_grad


def test_a_frozen_encoder_still_lets_theta_learn():
    model, x = case()
    model.posterior.requires_grad_(False)
    loss = VariationalLoss(model, ELBO(), Pathwise(), 2, inference=SemiAmortised(num_steps=2, lr=0.3))
    theta = [*model.likelihood.parameters()]
    gradient = torch.autograd.grad(value(loss, x), theta)
    direction = [torch.zeros_like(p) for p in loss.parameters()]
    index = [id(p) for p in loss.parameters()].index(id(theta[0]))
    direction[index] = torch.ones_like(theta[0])
    assert torch.allclose(gradient[0].sum(), finite_difference(loss, x, direction), rtol=1e-5)


@pytest.mark.slow
def test_it_trains_in_the_loop():
    model = vae((4,), latent_dim=2, hidden=[16])
    x = torch.rand(64, 1).gt(0.5).float().expand(-1, 4).contiguous()
    loss = VariationalLoss(model, ELBO(), Pathwise(), inference=SemiAmortised(num_steps=3))
    loss.check(x[:2])
    bounds = [record.terms["bound"] for record in train(loss, InMemory(x), num_steps=150, lr=0.03, log_every=50)]
    assert bounds[-1] > bounds[0] + 0.3
    assert [*loss.model.state_dict()] == [*model.state_dict()]


def test_refusals():
    discrete = EnumerableBernoulli.random(2, 3).model()
    with pytest.raises(ValueError, match=r"use ScoreFunction\(\)"):
        SemiAmortised()(discrete, torch.ones(1, 3, dtype=torch.float64))
    mixture, x = case("mixture-normal:components=2")
    with pytest.raises(ValueError, match="use family='full'"):
        SemiAmortised()(mixture, x)
    SemiAmortised(family="full")(mixture, x)
    with pytest.raises(ValueError, match="SemiAmortised got num_steps=0"):
        SemiAmortised(num_steps=0)
