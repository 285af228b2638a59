import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from torch.utils._python_dispatch import TorchDispatchMode

from lowerbound.priors.mixture_distribution import NormalMixture, _direct_squared_distance


def mixture(components=3, dim=2, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(components, generator=g, dtype=torch.float64)
    loc = 2 * torch.randn(components, dim, generator=g, dtype=torch.float64)
    scale = 0.3 + torch.rand(components, dim, generator=g, dtype=torch.float64)
    return NormalMixture(logits.to(dtype), loc.to(dtype), scale.to(dtype))


class LargestTensor(TorchDispatchMode):
    """The largest number of elements of any tensor made while it is on."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, tuple | list) else (out,):
            if isinstance(part, torch.Tensor):
                self.numel = max(self.numel, part.numel())
        return out


def test_log_prob_is_that_of_scipy():
    p = mixture()
    z = torch.randn(5, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    terms = [
        float(w) + stats.norm.logpdf(z.numpy(), m.numpy(), s.numpy()).sum(-1)
        for w, m, s in zip(p.log_weights, p.loc, p.scale, strict=True)
    ]
    np.testing.assert_allclose(p.log_prob(z).numpy(), logsumexp(terms, axis=0), rtol=1e-12)
    np.testing.assert_allclose(p.log_joint(z).numpy(), np.stack(terms, -1), rtol=1e-12)


def test_it_integrates_to_one_in_two_dimensions():
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = mixture().log_prob(grid).exp().view(601, 601)
    assert float(torch.trapezoid(torch.trapezoid(density, axis), axis)) == pytest.approx(1, abs=1e-9)


def test_gradients_pass_gradcheck():
    p = mixture()
    z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    inputs = [t.clone().requires_grad_() for t in (p.log_weights, p.loc, p.scale, z)]
    assert torch.autograd.gradcheck(lambda w, m, s, v: NormalMixture(w, m, s).log_prob(v), inputs)


def test_float32_is_as_accurate_as_the_direct_form_where_terms_cancel():
    g = torch.Generator().manual_seed(3)
    loc = 5 * torch.randn(40, 20, generator=g, dtype=torch.float64)
    scale = torch.full_like(loc, 0.01)
    z = loc[:30] + scale[:30] * torch.randn(30, 20, generator=g, dtype=torch.float64)
    loc32, scale32, z32 = loc.float(), scale.float(), z.float()
    exact = _direct_squared_distance(z32.double(), loc32.double(), scale32.double()).amin(-1)
    got = NormalMixture(torch.zeros(40), loc32, scale32)._squared_distance(z32).amin(-1)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), exact, rtol=1e-6, atol=1e-6)
    naive = (z32**2) @ (scale32**-2).T - 2 * z32 @ (loc32 * scale32**-2).T
    naive = (naive + (loc32**2 * scale32**-2).sum(-1)).amin(-1)
    assert (naive.double() - exact).abs().max() > 0.1  # what the float64 products avoid


def test_memory_is_linear_in_components_times_batch():
    samples, batch, components, dim = 3, 16, 64, 50
    p = mixture(components, dim, torch.float32)
    leaves = [t.clone().requires_grad_() for t in (p.log_weights, p.loc, p.scale)]
    z = torch.randn(samples, batch, dim, requires_grad=True)
    with LargestTensor() as largest:
        NormalMixture(*leaves).log_prob(z).sum().backward()
    budget = max(samples * batch * components, samples * batch * dim, components * dim)
    assert 0 < largest.numel <= budget


def test_a_nearly_empty_component_stays_finite_with_finite_gradients():
    logits = torch.tensor([0.0, -1e4], requires_grad=True)
    loc = torch.tensor([[0.0, 0.0], [1e3, 1e3]], requires_grad=True)
    scale = torch.tensor([[1.0, 1.0], [1e-4, 1e-4]], requires_grad=True)
    z = torch.tensor([[0.5, 0.5], [1e6, -1e6]], requires_grad=True)
    log_p = NormalMixture(logits, loc, scale).log_prob(z)
    gradients = torch.autograd.grad(log_p.sum(), (logits, loc, scale, z))
    assert log_p.isfinite().all()
    assert all(g.isfinite().all() for g in gradients)


def test_moments_and_samples_agree():
    p = mixture()
    torch.manual_seed(0)
    z = p.sample(torch.Size((200, 200)))
    assert z.shape == (200, 200, 2)
    flat = z.flatten(0, 1)
    error = (p.variance / len(flat)).sqrt()
    assert ((flat.mean(0) - p.mean).abs() < 5 * error).all()
    torch.testing.assert_close(flat.var(0), p.variance, rtol=0.06, atol=0)
    assert p.sample().shape == (2,)


def test_a_monte_carlo_kl_between_mixtures_matches_quadrature():
    p, q = mixture(seed=0), mixture(seed=5)
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_p, log_q = p.log_prob(grid), q.log_prob(grid)
    integrand = (log_p.exp() * (log_p - log_q)).view(601, 601)
    exact = float(torch.trapezoid(torch.trapezoid(integrand, axis), axis))
    torch.manual_seed(1)
    z = p.sample(torch.Size((20_000,)))
    draws = p.log_prob(z) - q.log_prob(z)
    assert abs(float(draws.mean()) - exact) < 5 * float(draws.std()) / len(draws) ** 0.5
