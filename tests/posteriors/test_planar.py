"""Planar flows: determinant against autograd, inverse, the constraint on û, the density as a density."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lowerbound.nets import MLP
from lowerbound.posteriors.planar import Planar, PlanarLayer
from lowerbound.testing import check_conditional

SIZES = [0.1, 1.0, 10.0, 100.0]


def layer_of(size: float, batch: int = 6, dim: int = 4) -> PlanarLayer:
    u, w = size * torch.randn(2, batch, dim, dtype=torch.float64)
    return PlanarLayer.constrained(u, w, size * torch.randn(batch, dtype=torch.float64))


def log_determinant(layer: PlanarLayer, z: Tensor) -> Tensor:
    """By autograd, datum by datum."""
    steps = [PlanarLayer(layer.u[k], layer.w[k], layer.b[k]) for k in range(len(z))]
    jacobian = torch.stack([torch.func.jacrev(lambda v, s=s: s.forward(v)[0])(z[k]) for k, s in enumerate(steps)])
    sign, value = torch.linalg.slogdet(jacobian)
    assert (sign > 0).all()
    return value


@pytest.mark.parametrize("size", SIZES)
def test_log_determinant_is_autograds(size: float) -> None:
    for _ in range(5):
        layer, z = layer_of(size), torch.randn(6, 4, dtype=torch.float64)
        y, root = layer.forward(z)
        for known in (root, None):
            torch.testing.assert_close(layer.inverse(y, known)[1], log_determinant(layer, z), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_step_is_invertible_for_any_output_of_the_net(size: float) -> None:
    layer = layer_of(size, batch=2000)
    assert ((layer.w * layer.u).sum(-1) > -1).all()
    z = torch.randn(3, 2000, 4, dtype=torch.float64)
    y, root = layer.forward(z)
    tolerance = 1e-9 * max(1.0, size**2)
    torch.testing.assert_close(layer.inverse(y, root)[0], z, rtol=0, atol=tolerance)
    back = layer.inverse(y, None)[0]
    torch.testing.assert_close(layer.forward(back)[0], y, rtol=0, atol=tolerance)


def test_u_is_only_moved_along_w_and_zero_u_is_the_identity() -> None:
    u, w = torch.randn(2, 5, 4, dtype=torch.float64)
    moved = PlanarLayer.constrained(u, w, torch.zeros(5, dtype=torch.float64)).u - u
    across = moved - (moved * w).sum(-1, keepdim=True) / w.square().sum(-1, keepdim=True) * w
    assert across.abs().max() < 1e-12
    still = PlanarLayer.constrained(torch.zeros_like(u), w, torch.zeros(5, dtype=torch.float64))
    assert still.u.abs().max() < 1e-9


def test_density_integrates_to_one(constant_net: Callable[[Tensor], nn.Module]) -> None:
    q = Planar(constant_net(1.5 * torch.randn(Planar.parameter_shape(2, 3), dtype=torch.float64)), layers=3)
    axis = torch.linspace(-20, 20, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    mass = q(torch.zeros(1, 1)).log_prob(grid).exp().sum() * 0.1**2
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_conforms_and_reads_its_size_from_the_net() -> None:
    q = Planar(MLP(5, [7], Planar.parameter_shape(3, layers=4)), layers=4).double()
    assert q.latent_dim == 3
    check_conditional(q, torch.randn(6, 5, dtype=torch.float64))


@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_float32_gradients_are_finite(constant_net: Callable[[Tensor], nn.Module], size: float) -> None:
    net = constant_net(size * torch.randn(Planar.parameter_shape(4)))
    q = Planar(net)(torch.zeros(1, 1))
    z = q.rsample((32,))
    (q.log_prob(z).sum() + q.log_prob(z.clone()).sum()).backward()
    assert net.value.grad is not None
    assert net.value.grad.isfinite().all()


def test_no_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="layers=0 and needs at least 1"):
        Planar(nn.Linear(2, 4), layers=0, latent_shape=2)
