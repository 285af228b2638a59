"""Mixtures of factor analysers: the density is a sum, one component is factor analysis, EM never falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture

from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers, fit_factor_analysis, fit_mixture_of_factor_analysers, impute

NAN = float("nan")


def mixture():
    parts = tuple(LinearGaussian.random(4, 1, seed=seed) for seed in (1, 2, 3))
    return FactorAnalysers(torch.tensor([0.5, 0.3, 0.2]).double(), parts)


def gaussians(m):
    moments = [(c.offset.numpy(), (c.weight @ c.weight.mT + torch.diag(c.scale**2)).numpy()) for c in m.components]
    return [stats.multivariate_normal(*pair) for pair in moments]


def test_density_and_responsibilities_are_those_of_the_sum_of_gaussians():
    m = mixture()
    x, _ = m.sample(20)
    joint = np.stack([w * g.pdf(x.numpy()) for w, g in zip(m.weights.tolist(), gaussians(m), strict=True)], 1)
    np.testing.assert_allclose(m.log_evidence(x), np.log(joint.sum(1)))
    np.testing.assert_allclose(m.responsibilities(x), joint / joint.sum(1, keepdims=True))


def test_missing_entries_are_filled_with_the_mean_over_components():
    m = mixture()
    x, _ = m.sample(20)
    x[:, 2] = NAN
    kept = [0, 1, 3]
    parts = [stats.multivariate_normal(g.mean[kept], g.cov[np.ix_(kept, kept)]) for g in gaussians(m)]
    joint = np.stack([w * g.pdf(x[:, kept].numpy()) for w, g in zip(m.weights.tolist(), parts, strict=True)], 1)
    each = np.stack([impute(c, x)[:, 2].numpy() for c in m.components], 1)
    expected = (joint * each).sum(1) / joint.sum(1)
    np.testing.assert_allclose(m.impute(x)[:, 2], expected)
    assert torch.equal(m.impute(x)[:, kept], x[:, kept])


def test_samples_come_from_their_components_in_their_proportions():
    m = mixture()
    x, component = m.sample(20_000)
    counts = torch.bincount(component, minlength=3)
    assert stats.chisquare(counts.numpy(), 20_000 * m.weights.numpy()).pvalue > 1e-6
    for k, part in enumerate(m.components):
        mine = x[component == k]
        spread = (part.weight.square().sum(1) + part.scale**2).sqrt()
        assert ((mine.mean(0) - part.offset).abs() < 5.5 * spread / len(mine) ** 0.5).all()


@pytest.mark.parametrize("noise", ["per-dimension", "shared"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_likelihood_never_falls(noise, missing):
    x, _ = mixture().sample(200)
    x[torch.rand(x.shape) < missing] = NAN
    fits = list(
        fit_mixture_of_factor_analysers(x, 3, 1, noise=noise, min_scale=0.05, max_iterations=40, tolerance=-1.0)
    )
    values = np.array([fit.log_likelihood for fit in fits])
    assert np.diff(values).min() > -1e-12
    assert values[-1] > values[0] + 0.02
    assert values[-1] == pytest.approx(float(fits[-1].mixture.log_evidence(x).mean()))
    assert fits[-1].mixture.weights.sum() == pytest.approx(1)


def test_one_component_is_factor_analysis():
    x = LinearGaussian.random(5, 1, seed=4).sample(150)
    *_, one = fit_mixture_of_factor_analysers(x, 1, 1, max_iterations=400, tolerance=1e-9)
    *_, alone = fit_factor_analysis(x, 1, min_scale=1e-3)
    assert one.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-5)


def test_clusters_far_apart_are_found_as_scikit_learn_finds_them():
    """Two columns and one factor can be any Gaussian: the mixture of Gaussians is the same model."""
    offsets = torch.tensor([[0.0, 0.0, 0.0], [20.0, 0.0, 5.0]]).double()
    parts = [LinearGaussian.random(3, 2, seed=s) for s in (5, 6)]
    x = torch.cat([LinearGaussian(p.weight, o, p.scale).sample(100) for p, o in zip(parts, offsets, strict=True)])
    *_, fit = fit_mixture_of_factor_analysers(x, 2, 2, max_iterations=300, tolerance=1e-8)
    theirs = GaussianMixture(2, random_state=0, tol=1e-10, reg_covar=0, max_iter=500).fit(x.numpy())
    assert fit.log_likelihood == pytest.approx(theirs.score(x.numpy()), abs=5e-3)
    label = fit.mixture.responsibilities(x).argmax(1)
    assert len(set(label[:100].tolist())) == len(set(label[100:].tolist())) == 1
    assert label[0] != label[100]


def test_a_component_that_lost_its_rows_stays_as_it_was():
    from lowerbound.linear.mixture import _step
    from lowerbound.linear.observed import observe

    m = mixture()
    x, _ = m.sample(30)
    r = torch.tensor([[0.6, 0.4, 0.0]]).double().expand(30, 3)
    new = _step(m, x, [observe(c, x) for c in m.components], r, "per-dimension", torch.full((4,), 1e-3).double())
    assert new.components[2] is m.components[2]
    assert new.log_evidence(x).isfinite().all()


def test_refusals():
    with pytest.raises(ValueError, match="fewer components"):
        next(fit_mixture_of_factor_analysers(torch.randn(3, 4).double(), 5, 1))
    with pytest.raises(ValueError, match="between 1 and 3 for 4 columns"):
        next(fit_mixture_of_factor_analysers(torch.randn(9, 4).double(), 2, 4))
