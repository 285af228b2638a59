"""Radial flows: determinant against autograd, closed-form inverse, the density as a density."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lowerbound.nets import MLP, positive
from lowerbound.posteriors.radial import Radial, RadialLayer
from lowerbound.testing import check_conditional

SIZES = [0.1, 1.0, 10.0, 100.0]


def layer_of(size: float, batch: int = 6, dim: int = 4) -> RadialLayer:
    raw = size * torch.randn(2, batch, 1, dtype=torch.float64)
    return RadialLayer(torch.randn(batch, dim, dtype=torch.float64), positive(raw[0], 1e-3), positive(raw[1], 1e-3))


def log_determinant(layer: RadialLayer, z: Tensor) -> Tensor:
    """By autograd, datum by datum."""
    steps = [RadialLayer(layer.centre[k], layer.alpha[k], layer.s[k]) for k in range(len(z))]
    jacobian = torch.stack([torch.func.jacrev(lambda v, s=s: s.forward(v)[0])(z[k]) for k, s in enumerate(steps)])
    sign, value = torch.linalg.slogdet(jacobian)
    assert (sign > 0).all()
    return value


@pytest.mark.parametrize("size", SIZES)
def test_log_determinant_is_autograds(size: float) -> None:
    for _ in range(5):
        layer, z = layer_of(size), 3 * torch.randn(6, 4, dtype=torch.float64)
        found = layer.inverse(layer.forward(z)[0])[1]
        torch.testing.assert_close(found, log_determinant(layer, z), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_inverse(size: float) -> None:
    layer, z = layer_of(size, batch=2000), torch.randn(3, 2000, 4, dtype=torch.float64)
    torch.testing.assert_close(layer.inverse(layer.forward(z)[0])[0], z, rtol=0, atol=1e-9 * max(1.0, size))


def test_the_paper_writes_the_same_step() -> None:
    layer, z = layer_of(1.0), torch.randn(6, 4, dtype=torch.float64)
    beta, r = layer.s - layer.alpha, (z - layer.centre).norm(dim=-1, keepdim=True)
    paper = z + beta / (layer.alpha + r) * (z - layer.centre)
    torch.testing.assert_close(layer.forward(z)[0], paper)


def test_the_centre_stays_where_it_is_with_finite_gradients() -> None:
    layer = layer_of(1.0)
    y = layer.centre.clone().requires_grad_()
    z, log_det = layer.inverse(y)
    torch.testing.assert_close(z, layer.centre)
    (z.sum() + log_det.sum()).backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


def test_density_integrates_to_one(constant_net: Callable[[Tensor], nn.Module]) -> None:
    q = Radial(constant_net(1.5 * torch.randn(Radial.parameter_shape(2, 3), dtype=torch.float64)), layers=3)
    axis = torch.linspace(-20, 20, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    mass = q(torch.zeros(1, 1)).log_prob(grid).exp().sum() * 0.04**2
    assert mass.item() == pytest.approx(1, abs=5e-3)


def test_zero_outputs_are_the_base(constant_net: Callable[[Tensor], nn.Module]) -> None:
    q = Radial(constant_net(torch.zeros(Radial.parameter_shape(3), dtype=torch.float64)))(torch.zeros(1, 1))
    z = torch.randn(5, 1, 3, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), q.base.log_prob(z), rtol=0, atol=1e-10)


def test_conforms_and_reads_its_size_from_the_net() -> None:
    q = Radial(MLP(5, [7], Radial.parameter_shape(3, layers=4)), layers=4).double()
    assert q.latent_dim == 3
    check_conditional(q, torch.randn(6, 5, dtype=torch.float64))


@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_float32_gradients_are_finite(constant_net: Callable[[Tensor], nn.Module], size: float) -> None:
    net = constant_net(size * torch.randn(Radial.parameter_shape(4)))
    q = Radial(net)(torch.zeros(1, 1))
    q.log_prob(q.rsample((32,))).sum().backward()
    assert net.value.grad is not None
    assert net.value.grad.isfinite().all()
