"""Mixtures with levels and shrinkage: the density is that of scipy, EM climbs, special cases agree."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture

from lowerbound.exact import LinearGaussian
from lowerbound.linear import fit_factor_analysis, fit_scaled_mixture


def rows(count: int = 200, columns: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    parts = torch.arange(count) % 2
    return LinearGaussian.random(columns, 1).sample(count) + 6.0 * parts[:, None]


def test_density_is_the_sum_over_clusters_and_levels() -> None:
    x = rows()
    fit = fit_scaled_mixture(x, 2, 1, levels=(1.0, 4.0), shrinkage=1.0)
    covariance = fit.covariance.numpy()
    terms = [
        np.exp(float(fit.log_weights[k, s])) * stats.multivariate_normal(fit.loc[k], tau * covariance[k]).pdf(x)
        for k in range(2)
        for s, tau in enumerate((1.0, 4.0))
    ]
    np.testing.assert_allclose(fit.log_evidence(x), np.log(sum(terms)), rtol=1e-10)
    torch.testing.assert_close(fit.factor_analysers().log_evidence(x), fit.log_evidence(x))
    assert math.isclose(float(fit.log_weights.exp().sum()), 1.0)


def test_one_full_cluster_is_the_gaussian_of_maximum_likelihood() -> None:
    x = rows()
    fit = fit_scaled_mixture(x, 1, None)
    exact = stats.multivariate_normal(x.mean(0).numpy(), np.cov(x.T.numpy(), bias=True))
    np.testing.assert_allclose(fit.log_evidence(x), exact.logpdf(x), rtol=1e-9)


def test_full_clusters_without_shrinkage_are_those_of_scikit_learn() -> None:
    x = rows()
    fit = fit_scaled_mixture(x, 2, None, tolerance=1e-10, max_iterations=500)
    theirs = GaussianMixture(2, reg_covar=1e-6, random_state=0, tol=1e-10, max_iter=500).fit(x.numpy())
    assert float(fit.log_evidence(x).mean()) == pytest.approx(theirs.score(x.numpy()), abs=1e-3)


def test_one_cluster_of_a_rank_is_factor_analysis() -> None:
    x = LinearGaussian.random(6, 2).sample(500)
    fit = fit_scaled_mixture(x, 1, 2, tolerance=1e-9, max_iterations=3000)
    *_, last = fit_factor_analysis(x, 2)
    assert float(fit.log_evidence(x).mean()) == pytest.approx(last.log_likelihood, abs=1e-4)


def test_the_posterior_density_never_falls() -> None:
    """Likelihood plus the log of the inverse Wishart prior, up to a constant, at every iteration."""
    x = rows(120)
    kappa, values = 2.0, []
    target = torch.cov(x.T, correction=0) * 2 ** (-2 / 3)
    for iterations in range(1, 12):
        fit = fit_scaled_mixture(
            x, 2, None, levels=(1.0, 5.0), shrinkage=kappa, tolerance=-1.0, max_iterations=iterations
        )
        sigma = fit.covariance
        prior = (
            -0.5 * kappa * (torch.logdet(sigma) + torch.linalg.solve(sigma, target).diagonal(dim1=1, dim2=2).sum(-1))
        )
        values.append(float(fit.log_evidence(x).sum() + prior.sum()))
    assert all(later >= earlier - 1e-3 for earlier, later in pairwise(values))


def test_levels_catch_heavy_tails() -> None:
    """Rows of Student's t with three degrees of freedom: levels come close to the truth on new rows, one does not."""
    t = stats.multivariate_t(np.zeros(2), np.eye(2), df=3)
    x, new = (torch.as_tensor(t.rvs(4000, random_state=seed)) for seed in (0, 1))
    heavy = fit_scaled_mixture(x, 1, None, levels=(1.0, 2.0, 4.0, 10.0, 40.0)).log_evidence(new)
    light = fit_scaled_mixture(x, 1, None).log_evidence(new)
    truth = float(t.logpdf(new.numpy()).mean())
    assert abs(float(heavy.mean()) - truth) < 0.05
    assert float(light.mean()) < truth - 0.2


def test_scales_keep_above_the_floor_in_a_constant_column() -> None:
    x = rows()
    x[:, 1] = 2.0
    for rank in (0, 1, None):
        fit = fit_scaled_mixture(x, 2, rank, levels=(1.0, 3.0), min_scale=0.01)
        assert float(fit.covariance[:, 1, 1].min()) >= 0.99e-4
        assert bool(fit.log_evidence(x).isfinite().all())


def test_the_units_of_rows_in_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows()
    whole = fit_scaled_mixture(x, 2, 1, levels=(1.0, 3.0))
    monkeypatch.setattr("lowerbound.linear.scaled_mixture._BLOCK", 50)
    parts = fit_scaled_mixture(x, 2, 1, levels=(1.0, 3.0))
    torch.testing.assert_close(parts.log_evidence(x), whole.log_evidence(x))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="latent_dim is 3"):
        fit_scaled_mixture(rows(), 2, 3)
    with pytest.raises(ValueError, match="at least 1"):
        fit_scaled_mixture(rows(), 2, 1, levels=(0.5, 1.0))
    with pytest.raises(ValueError, match="points for 30 clusters"):
        fit_scaled_mixture(rows(20), 30, 1)


@pytest.mark.parametrize("rank", [None, 2])
def test_series_that_grow_beyond_rounding_have_a_covariance(rank):
    """Twelve steps e³ times as large as the one before: eigenvalues are 10²⁸ apart."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(30, 1, 2, dtype=torch.float64, generator=generator)
    x = (torch.arange(12.0)[:, None] * 3).exp() * start + torch.randn(30, 12, 2, generator=generator) * 1e-3
    x = x.flatten(1) / x.std()
    near = fit_scaled_mixture(x, 1, rank, levels=(1.0, 4.0), shrinkage=1.0, target="autoregression", num_steps=12)
    own = fit_scaled_mixture(x, 1, rank, shrinkage=1.0)
    assert near.log_evidence(x).isfinite().all()
    assert own.log_evidence(x).isfinite().all()
