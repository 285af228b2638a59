"""The mixture against scipy; its implicit gradient against quadrature; stratified bounds against their exact value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from lowerbound.nets import MLP
from lowerbound.posteriors.mixture_normal import MixtureNormal, MixtureNormalDistribution
from lowerbound.testing import assert_unbiased, check_conditional, flat_gradient


def three(batch: int = 1, dim: int = 2) -> tuple[MixtureNormalDistribution, list[Tensor]]:
    logits = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64)
    loc = torch.tensor([[-1.0, 0.5], [0.8, 1.2], [0.2, -1.1]], dtype=torch.float64)[:, :dim]
    raw = torch.tensor([[-0.5, 0.2], [-0.2, -0.9], [0.1, -0.3]], dtype=torch.float64)[:, :dim]
    leaves = [logits.requires_grad_(), loc.clone().requires_grad_(), raw.clone().requires_grad_()]
    shape = (batch, 3, dim)
    q = MixtureNormalDistribution(leaves[0].expand(batch, 3), leaves[1].expand(shape), leaves[2].exp().expand(shape))
    return q, leaves


def test_density_is_scipys() -> None:
    q, (logits, loc, raw) = three()
    z = torch.randn(6, 1, 2, dtype=torch.float64)
    weights = torch.softmax(logits, 0).tolist()
    exact = sum(
        w * stats.norm.pdf(z[:, 0], m, s).prod(-1)
        for w, m, s in zip(weights, loc.tolist(), raw.exp().tolist(), strict=True)
    )
    assert q.log_prob(z).exp()[:, 0].tolist() == pytest.approx(exact.tolist(), rel=1e-9)


def test_draws_have_the_stated_moments() -> None:
    q, _ = three()
    z = q.sample((100_000,))[:, 0]
    error = (q.variance[0].detach() / 100_000).sqrt()
    assert ((z.mean(0) - q.mean[0].detach()).abs() < 6 * error).all()
    assert (z.var(0) / q.variance[0].detach() - 1).abs().max() < 0.05


def test_implicit_jacobian_is_autograds() -> None:
    q, _ = three()
    z = torch.randn(1, 2, dtype=torch.float64)
    f, jacobian = q._distribution_function(z)
    exact = torch.autograd.functional.jacobian(lambda v: q._distribution_function(v[None])[0][0], z[0])
    torch.testing.assert_close(jacobian[0], exact, rtol=0, atol=1e-12)
    assert ((f > 0) & (f < 1)).all()


def test_distribution_function_of_one_latent_is_scipys() -> None:
    q, (logits, loc, raw) = three(dim=1)
    f, _ = q._distribution_function(torch.tensor([[0.4]], dtype=torch.float64))
    w = torch.softmax(logits, 0).detach().numpy()
    exact = (w * stats.norm.cdf(0.4, loc.detach().numpy()[:, 0], raw.exp().detach().numpy()[:, 0])).sum()
    assert f.item() == pytest.approx(exact, rel=1e-12)


def integrand(z: Tensor) -> Tensor:
    return torch.sin(1.3 * z[..., 0]) * (z[..., 1] + 0.3) + z[..., 0] * z[..., 1] ** 2


def exact_gradient() -> Tensor:
    """∇ E_q[f] by integrating f q over a grid, weights of the mixture included."""
    q, leaves = three()
    axis = torch.linspace(-9, 9, 361, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    return flat_gradient((integrand(grid) * q.log_prob(grid).exp()).sum() * 0.05**2, leaves)


@pytest.mark.slow
def test_implicit_gradient_is_unbiased_for_weights_means_and_scales() -> None:
    def estimate() -> Tensor:
        q, leaves = three(batch=4000)
        return flat_gradient(integrand(q.rsample((5,))).mean(), leaves)

    assert_unbiased(estimate, exact_gradient(), num_repeats=40, smallest_detectable=0.06)


def test_stratified_gradient_is_unbiased_for_weights_means_and_scales() -> None:
    def estimate() -> Tensor:
        q, leaves = three(batch=4000)
        z = q.rsample_by_component(2)
        assert z.shape == (3, 2, 4000, 2)
        by_component = integrand(z).mean(1)
        return flat_gradient((q.log_weights.exp().mT * by_component).sum(0).mean(), leaves)

    assert_unbiased(estimate, exact_gradient(), num_repeats=40, smallest_detectable=0.06)


def test_each_stratum_comes_from_its_component() -> None:
    q, (_, loc, raw) = three()
    z = q.rsample_by_component(50_000)[:, :, 0]
    error = raw.exp().detach() / 50_000**0.5
    assert ((z.mean(1) - loc).abs() < 6 * error).all()


def test_a_draw_has_a_graph_only_where_something_learns() -> None:
    q, _ = three()
    assert q.rsample((2,)).requires_grad
    assert not q.sample((2,)).requires_grad
    constant = MixtureNormalDistribution(torch.zeros(1, 2), torch.zeros(1, 2, 3), torch.ones(1, 2, 3))
    assert not constant.rsample((2,)).requires_grad


def test_conforms_and_reads_its_size_from_the_net() -> None:
    q = MixtureNormal(MLP(5, [7], MixtureNormal.parameter_shape(3))).double()
    assert q.latent_dim == 3
    check_conditional(q, torch.randn(6, 5, dtype=torch.float64))


@pytest.mark.parametrize("size", [1.0, 10.0, 50.0])
def test_float32_gradients_are_finite(constant_net: Callable[[Tensor], nn.Module], size: float) -> None:
    net = constant_net(size * torch.randn(MixtureNormal.parameter_shape(4)))
    q = MixtureNormal(net)(torch.zeros(1, 1))
    q.log_prob(q.rsample((64,))).sum().backward()
    assert net.value.grad is not None
    assert net.value.grad.isfinite().all()
