"""Sylvester flows: orthonormal bases, determinant against autograd, inverse, the density as a density."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lowerbound.nets import MLP
from lowerbound.posteriors.sylvester import Sylvester, SylvesterLayer, _check
from lowerbound.posteriors.transformed_normal import TransformedNormal
from lowerbound.testing import check_conditional

BASES = ["orthogonal", "householder", "triangular"]
SIZES = [0.3, 1.0, 5.0]
OPTIONS = {"layers": 2, "columns": 3, "reflections": 3}


def drawn(basis: str, size: float, batch: int = 5, dim: int = 4) -> TransformedNormal:
    shape = Sylvester.parameter_shape(dim, basis, **OPTIONS)
    net = nn.Linear(1, shape[0], bias=False).double()
    nn.init.normal_(net.weight, std=size)
    q = Sylvester(net, basis, **OPTIONS, latent_shape=dim)
    return q(1 + 0.3 * torch.randn(batch, 1, dtype=torch.float64))


def of_datum(layer: SylvesterLayer, k: int) -> SylvesterLayer:
    q = layer.q if layer.q.ndim == 2 else layer.q[k]
    return SylvesterLayer(q, layer.r[k], layer.r_tilde[k], layer.b[k])


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("size", SIZES)
def test_columns_are_orthonormal_and_slopes_above_minus_one(basis: str, size: float) -> None:
    for layer in drawn(basis, size).layers:
        eye = torch.eye(layer.q.shape[-1], dtype=torch.float64)
        torch.testing.assert_close(layer.q.mT @ layer.q, eye.expand_as(layer.q.mT @ layer.q), rtol=0, atol=1e-12)
        assert (layer._slopes() > -1).all()
        assert torch.equal(layer.r, layer.r.triu())
        assert torch.equal(layer.r_tilde, layer.r_tilde.triu())


def log_determinant(layer: SylvesterLayer, z: Tensor) -> Tensor:
    """By autograd, datum by datum."""
    steps = [of_datum(layer, k) for k in range(len(z))]
    jacobian = torch.stack([torch.func.jacrev(lambda v, s=s: s.forward(v)[0])(z[k]) for k, s in enumerate(steps)])
    sign, value = torch.linalg.slogdet(jacobian)
    assert (sign > 0).all()
    return value


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("size", SIZES)
def test_log_determinant_is_autograds(basis: str, size: float) -> None:
    for layer in drawn(basis, size).layers:
        z = torch.randn(5, 4, dtype=torch.float64)
        y, root = layer.forward(z)
        torch.testing.assert_close(layer.inverse(y, root)[1], log_determinant(layer, z), rtol=0, atol=1e-6)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("size", SIZES)
def test_inverse_with_and_without_the_root(basis: str, size: float) -> None:
    for layer in drawn(basis, size, batch=50).layers:
        z = torch.randn(3, 50, 4, dtype=torch.float64)
        y, root = layer.forward(z)
        torch.testing.assert_close(layer.inverse(y, root)[0], z, rtol=0, atol=1e-10)
        searched, log_det = layer.inverse(y, None)
        torch.testing.assert_close(layer.forward(searched)[0], y, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(log_det, layer.inverse(y, root)[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("basis", BASES)
def test_density_integrates_to_one(constant_net: Callable[[Tensor], nn.Module], basis: str) -> None:
    shape = Sylvester.parameter_shape(2, basis, **OPTIONS)
    q = Sylvester(constant_net(torch.randn(shape, dtype=torch.float64)), basis, **OPTIONS)
    axis = torch.linspace(-15, 15, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    mass = q(torch.zeros(1, 1)).log_prob(grid).exp().sum() * 0.1**2
    assert mass.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("basis", BASES)
def test_conforms_and_reads_its_size_from_the_net(basis: str) -> None:
    q = Sylvester(MLP(5, [7], Sylvester.parameter_shape(3, basis)), basis).double()
    assert q.latent_dim == 3
    check_conditional(q, torch.randn(6, 5, dtype=torch.float64))


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("size", [0.0, 1.0, 10.0])
def test_float32_gradients_are_finite(constant_net: Callable[[Tensor], nn.Module], basis: str, size: float) -> None:
    net = constant_net(size * torch.randn(Sylvester.parameter_shape(4, basis)))
    q = Sylvester(net, basis)(torch.zeros(1, 1))
    q.log_prob(q.rsample((32,))).sum().backward()
    assert net.value.grad is not None
    assert net.value.grad.isfinite().all()


def test_an_unknown_basis_is_refused() -> None:
    with pytest.raises(ValueError, match="basis='cayley' and expected one of orthogonal"):
        _check("cayley", 1, 1, 1)
