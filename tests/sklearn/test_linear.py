"""The estimators of linear models: scikit-learn's checks, scikit-learn's numbers, missing entries, refusals."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from lowerbound.sklearn.factor_analysis import FactorAnalysis
from lowerbound.sklearn.ica import ICA
from lowerbound.sklearn.mixture_of_factor_analysers import MixtureOfFactorAnalysers
from lowerbound.sklearn.ppca import ProbabilisticPCA
from sklearn import decomposition

SMALL = [
    FactorAnalysis(latent_dim=1, max_iter=20),
    ProbabilisticPCA(latent_dim=1, max_iter=20),
    ICA(max_iter=3),
    MixtureOfFactorAnalysers(2, max_iter=3),
]
MISSING = [
    FactorAnalysis(latent_dim=2, max_iter=60),
    ProbabilisticPCA(latent_dim=2, max_iter=60),
    MixtureOfFactorAnalysers(2, latent_dim=2, max_iter=20),
]


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("without_type_checks")
@parametrize_with_checks(SMALL)
def test_check_of_scikit_learn(estimator, check):
    check(estimator)


def rows(count=120, missing=0.0, seed=0):
    g = np.random.default_rng(seed)
    X = g.normal(size=(count, 2)) @ g.normal(size=(2, 5)) + g.uniform(0.3, 1, 5) * g.normal(size=(count, 5)) + 3
    return np.where(g.random(X.shape) < missing, np.nan, X)


def test_scores_on_digits_are_those_of_scikit_learn():
    X = load_digits().data
    ours, theirs = (
        FactorAnalysis(8, min_scale=1e-6).fit(X),
        decomposition.FactorAnalysis(8, tol=1e-8, max_iter=5000, svd_method="lapack"),
    )
    assert ours.score(X) == pytest.approx(theirs.fit(X).score(X), abs=1e-6)
    np.testing.assert_allclose(ours.score_samples(X)[:50], theirs.score_samples(X)[:50], atol=2e-3)
    pca = decomposition.PCA(8, svd_solver="full").fit(X)
    np.testing.assert_allclose(ProbabilisticPCA(8).fit(X).score_samples(X), pca.score_samples(X), atol=1e-8)
    assert ProbabilisticPCA(8, correction=0).fit(X).score(X) > pca.score(X)


def test_latents_are_posterior_means_and_reconstruct():
    X = rows()
    fa = FactorAnalysis(2).fit(X)
    W, noise = fa.components_, np.diag(fa.noise_variance_)
    direct = (X - fa.mean_) @ np.linalg.inv(W.T @ W + noise) @ W.T
    np.testing.assert_allclose(fa.transform(X), direct, atol=1e-8)
    np.testing.assert_allclose(fa.inverse_transform(direct), direct @ W + fa.mean_)


@pytest.mark.parametrize("estimator", MISSING, ids=lambda e: type(e).__name__)
def test_missing_entries_are_fitted_scored_and_filled(estimator):
    X, whole = rows(missing=0.2), rows()
    estimator.set_params(random_state=0).fit(X)
    assert np.diff(estimator.log_likelihood_).min() > -1e-10
    assert np.isfinite(estimator.score_samples(X)).all()
    assert np.isfinite(estimator.transform(X)).all()
    filled, gone = estimator.impute(X), np.isnan(X)
    np.testing.assert_array_equal(filled[~gone], X[~gone])
    error = ((filled - whole)[gone] ** 2).mean()
    assert error < 0.7 * ((np.nanmean(X, 0) - whole)[gone] ** 2).mean()


@pytest.mark.parametrize("estimator", MISSING[:2], ids=lambda e: type(e).__name__)
def test_imputation_is_conditioning_of_the_gaussian(estimator):
    X = rows(count=40, missing=0.3)
    estimator.fit(X)
    covariance = estimator.components_.T @ estimator.components_ + np.eye(5) * estimator.noise_variance_
    for row, filled in zip(X, estimator.impute(X), strict=True):
        o = ~np.isnan(row)
        gain = np.linalg.solve(covariance[np.ix_(o, o)], (row - estimator.mean_)[o])
        np.testing.assert_allclose(filled[~o], (estimator.mean_ + covariance[:, o] @ gain)[~o], atol=1e-8)


@pytest.mark.parametrize("estimator", [*MISSING, ICA(max_iter=50)], ids=lambda e: type(e).__name__)
def test_samples_have_the_moments_of_the_rows_and_repeat(estimator):
    X = rows(count=500)
    estimator.set_params(random_state=0).fit(X)
    S = estimator.sample(20_000)
    np.testing.assert_array_equal(S[:5], estimator.sample(20_000)[:5])
    np.testing.assert_allclose(S.mean(0), X.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(S.T), np.cov(X.T), atol=0.35)
    with pytest.raises(ValueError, match="n_samples=0"):
        estimator.sample(0)


def test_ica_finds_the_sources_of_a_mixture_up_to_order_and_sign():
    g = np.random.default_rng(0)
    S = np.stack([g.laplace(size=3000), g.uniform(-1, 1, 3000)], 1)
    ica = ICA(random_state=0).fit(S @ [[1.0, 0.4], [-0.3, 1.0]] + 2)
    correlation = abs(np.corrcoef(ica.transform(S @ [[1.0, 0.4], [-0.3, 1.0]] + 2).T, S.T)[:2, 2:])
    assert correlation.max(0).min() > 0.995
    np.testing.assert_allclose(ica.inverse_transform(ica.transform(S)), S)


def test_clusters_are_labelled_and_their_probabilities_sum_to_one():
    X = np.concatenate([rows(60), rows(60) + 30])
    mixture = MixtureOfFactorAnalysers(2, max_iter=20, random_state=0).fit(X)
    assert (mixture.labels_ == mixture.predict(X)).all()
    assert set(mixture.labels_[:60]) != set(mixture.labels_[60:])
    np.testing.assert_allclose(mixture.predict_proba(X).sum(1), 1)
    np.testing.assert_array_equal(mixture.predict_proba(X).argmax(1), mixture.predict(X))


@pytest.mark.parametrize(
    "make, X, words",
    [
        (lambda: FactorAnalysis(6), rows(), "between 1 and 5 for 5 columns"),
        (lambda: ProbabilisticPCA(5), rows(), "between 1 and 4 for 5 columns"),
        (lambda: ICA(6), rows(), "between 1 and 5"),
        (lambda: FactorAnalysis(), rows() * [1, 1, np.nan, 1, 1], r"Columns \[2\] have no observed entry"),
        (lambda: ProbabilisticPCA(), rows() * np.nan, "have no observed entry"),
        (lambda: ICA(), rows(missing=0.1), "contains NaN"),
        (lambda: ICA(), rows() * [1, 0, 1, 1, 1], "4 directions only"),
        (lambda: ProbabilisticPCA(correction=2), rows(), "expected 0"),
        (lambda: MixtureOfFactorAnalysers(noise="none"), rows(), "noise is 'none'"),
        (lambda: FactorAnalysis(1.5), rows(), "expected a whole number"),
    ],
)
def test_refusals(make, X, words, as_users_run):
    with pytest.raises(ValueError, match=words):
        make().fit(X)


def test_a_constant_column_rests_on_the_floor():
    X = rows() * [1, 0, 1, 1, 1] + 4
    fa = FactorAnalysis(2, min_scale=1e-3).fit(X)
    assert fa.noise_variance_[1] == pytest.approx(1e-6)
    np.testing.assert_allclose(fa.impute(np.where([0, 1, 0, 0, 0], np.nan, X))[:, 1], 4)
    with pytest.raises(ValueError, match="latents of length 3"):
        fa.inverse_transform(np.zeros((2, 3)))
