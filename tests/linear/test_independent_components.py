"""ICA: densities against quadrature, the likelihood against scipy, planted mixtures found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lowerbound.linear import IndependentComponents, fit_independent_components, sources

KINDS = torch.tensor([True, False])


def planted(count=3000, seed=0):
    """Laplace, uniform, Student t and two-valued sources of different scales, mixed."""
    g = np.random.default_rng(seed)
    s = np.stack([g.laplace(size=count), 3 * g.random(count), 5 * g.standard_t(4, count), g.choice([-1, 1], count)], 1)
    s[:, 3] += 0.3 * g.normal(size=count)
    mixing = torch.as_tensor(g.normal(size=(4, 4)))
    return torch.as_tensor(s) @ mixing.mT + 7, mixing


def amari(product):
    """0 where W A is a scaled permutation, 1 at the worst (Amari, Cichocki & Yang 1996)."""
    p, n = product.abs(), len(product)
    rows = (p.sum(1) / p.amax(1) - 1).sum()
    columns = (p.sum(0) / p.amax(0) - 1).sum()
    return float((rows + columns) / (2 * n * (n - 1)))


def density(s, kind):
    values = torch.tensor([[s, s]], dtype=torch.float64)
    return float(sources.log_density(values, KINDS).exp()[0, kind])


@pytest.mark.parametrize("kind, kurtosis", [(0, 2.0), (1, -0.5)])
def test_the_densities_integrate_to_one_and_have_their_tails(kind, kurtosis):
    moments = [integrate.quad(lambda s, k=k: s**k * density(s, kind), -40, 40, limit=200)[0] for k in (0, 2, 4)]
    assert moments[0] == pytest.approx(1, abs=1e-9)
    assert moments[2] / moments[1] ** 2 - 3 == pytest.approx(kurtosis, abs=1e-6)


def test_the_super_gaussian_density_is_that_of_scipy_far_out_too():
    s = torch.tensor([-800.0, -3.0, 0.0, 0.5, 40.0]).double()[:, None].expand(5, 2)
    theirs = stats.hypsecant.logpdf(np.array([-3.0, 0.0, 0.5, 40.0]))
    got = sources.log_density(s, KINDS)[:, 0]
    np.testing.assert_allclose(got[1:], theirs)
    assert float(got[0]) == pytest.approx(-800 + np.log(2 / np.pi))


def test_score_and_slope_are_derivatives():
    s = torch.linspace(-4, 4, 9).double()[:, None].repeat(1, 2).requires_grad_()
    (first,) = torch.autograd.grad(-sources.log_density(s, KINDS).sum(), s, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), s)
    torch.testing.assert_close(sources.score(s, KINDS), first)
    torch.testing.assert_close(sources.slope(s, KINDS).detach(), second)


def test_draws_have_their_distribution():
    s = sources.draw(20_000, KINDS, torch.float64).numpy()
    assert stats.kstest(s[:, 0], stats.hypsecant.cdf).pvalue > 1e-6
    cdf = lambda v: 0.5 * (stats.norm.cdf(v + 1) + stats.norm.cdf(v - 1))  # noqa: E731
    assert stats.kstest(s[:, 1], cdf).pvalue > 1e-6


@pytest.mark.parametrize("shift", [-6.0, 0.0, 6.0])
def test_the_best_scale_is_the_best(shift):
    s = torch.randn(200, 2).double() * 10**shift
    a = sources.best_scale(s, KINDS)
    values = [(sources.log_density(f * a * s, KINDS).mean(0) + (f * a).log()) for f in (0.99, 1.0, 1.01)]
    assert (values[1] > values[0]).all()
    assert (values[1] > values[2]).all()


def test_the_likelihood_is_a_density_in_two_dimensions():
    model = IndependentComponents(
        torch.tensor([[1.0, 0.5], [-0.3, 0.8]]).double(),
        torch.tensor([0.2, -0.1]).double(),
        KINDS,
        torch.ones(()).double(),
    )
    grid = torch.linspace(-40, 40, 801).double()
    x = torch.cartesian_prod(grid, grid)
    assert float(model.log_evidence(x).exp().sum() * 0.1**2) == pytest.approx(1, abs=1e-6)
    y = model.sources(x[:3])
    torch.testing.assert_close(model.mix(y), x[:3])


def test_fewer_sources_than_columns_have_the_density_of_sources_and_noise():
    x, _ = planted(500)
    *_, fit = fit_independent_components(x, 2, tolerance=1e-4)
    m = fit.components
    u, _ = torch.linalg.qr(m.unmixing.mT)
    inside = (x - m.offset) @ u
    square = IndependentComponents(m.unmixing @ u, torch.zeros(2).double(), m.is_super, m.noise_scale)
    rest = (x - m.offset).square().sum(1) - inside.square().sum(1)
    noise = stats.norm(0, float(m.noise_scale))
    expected = square.log_evidence(inside).numpy() + 2 * noise.logpdf(0) - rest.numpy() / 2 / float(m.noise_scale) ** 2
    np.testing.assert_allclose(m.log_evidence(x), expected)
    assert fit.log_likelihood == pytest.approx(expected.mean())
    draws = m.sample(20_000)
    outside = (draws - m.offset) - (draws - m.offset) @ u @ u.mT
    assert float(outside.square().sum(1).mean()) == pytest.approx(2 * float(m.noise_scale) ** 2, rel=0.05)
    spread = (draws - m.offset) @ m.unmixing.mT
    assert float(spread[:, 0].var()) == pytest.approx(
        float(sources.draw(20_000, m.is_super, x.dtype)[:, 0].var()), rel=0.1
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_sources_are_found_and_the_likelihood_never_falls(seed):
    x, mixing = planted(seed=seed)
    fits = list(fit_independent_components(x, 4, seed=seed))
    values = np.array([fit.log_likelihood for fit in fits])
    assert np.diff(values).min() >= -1e-12
    m = fits[-1].components
    assert amari(fits[0].components.unmixing @ mixing) > 0.2
    assert amari(m.unmixing @ mixing) < 0.06
    assert int(m.is_super.sum()) == 2
    torch.testing.assert_close(m.mixing @ m.unmixing, torch.eye(4).double(), atol=1e-9, rtol=0)


def test_at_the_end_no_other_unmixing_is_more_likely():
    x, _ = planted(500)
    *_, fit = fit_independent_components(x, 4)
    W = fit.components.unmixing.clone().requires_grad_()
    model = IndependentComponents(W, fit.components.offset, fit.components.is_super, fit.components.noise_scale)
    (gradient,) = torch.autograd.grad(model.log_evidence(x).mean(), W)
    assert float((gradient @ W.detach().mT).abs().max()) < 1e-5


def test_refusals():
    x, _ = planted(50)
    with pytest.raises(ValueError, match="impute them first"):
        next(fit_independent_components(x.index_fill(0, torch.tensor([0]), float("nan")), 2))
    with pytest.raises(ValueError, match="3 directions only"):
        next(fit_independent_components(x.index_fill(1, torch.tensor([1]), 2.0), 4))
    with pytest.raises(ValueError, match="between 1 and 4"):
        next(fit_independent_components(x, 5))
