"""The clustering estimator: planted clusters, digits, what its methods mean, conventions, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pytest
from sklearn.base import clone, is_clusterer
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from lowerbound.data.remarks import DataWarning
from lowerbound.sklearn.vade import VaDE

SMALL = VaDE(
    3, latent_dim=2, hidden=(16,), pretrain_epochs=5, epochs=1, lr=1e-2, n_init=1, num_evidence_samples=5, batch_size=20
)
OTHER_NUMBERS = "score_samples is a Monte Carlo estimate: a row in other company gets other random numbers"
NOT_MET = {
    "check_methods_subset_invariance": OTHER_NUMBERS,
    "check_methods_sample_order_invariance": OTHER_NUMBERS,
}


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn wants a constructor that takes anything, and `fit` to explain itself: a type check speaks first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.slow  # a minute; those of `VAE`, by the same bridge, are in every run
@pytest.mark.usefixtures("without_type_checks")
@parametrize_with_checks([SMALL], expected_failed_checks=lambda estimator: NOT_MET)
def test_check_of_scikit_learn(estimator: VaDE, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_the_class_docstring_names_the_checks_that_are_not_met() -> None:
    assert VaDE.__doc__ is not None
    assert [name for name in NOT_MET if name not in VaDE.__doc__] == []


def planted(rows: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clusters in five columns of units far from each other."""
    rng = np.random.default_rng(seed)
    label = np.arange(rows) % 3
    centres = np.array([[3, 0, 0, 1, 0], [0, 3, 0, 0, 1], [0, 0, 3, -1, -1]])
    return (centres[label] + 0.4 * rng.normal(size=(rows, 5))) * [10.0, 0.01, 1.0, 1.0, 100.0] + 7.0, label


def vade(n_clusters: Any = 3, **changes: Any) -> VaDE:
    return clone(SMALL).set_params(
        **{
            "n_clusters": n_clusters,
            "pretrain_epochs": 20,
            "epochs": 5,
            "batch_size": 40,
            "n_init": 2,
            "random_state": 0,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def fitted() -> VaDE:
    return vade(pretrain_epochs=30, num_evidence_samples=100).fit(planted()[0])


def test_planted_clusters_are_found_whatever_the_units(fitted: VaDE) -> None:
    X, label = planted()
    assert adjusted_rand_score(label, fitted.labels_) > 0.95
    new, label_of_new = planted(90, seed=1)
    assert adjusted_rand_score(label_of_new, fitted.predict(new)) > 0.95
    assert np.array_equal(fitted.predict(X), fitted.labels_)
    assert is_clusterer(fitted)


def test_the_digits_of_scikit_learn_are_told_apart_without_a_label() -> None:
    """One cluster has an adjusted Rand index of 0, and so has chance; four seeds have 0.43 to 0.56."""
    digits: Any = load_digits()
    model = vade(
        10, latent_dim=6, hidden=(64,), pretrain_epochs=10, epochs=3, batch_size=100, lr=5e-3, event_shape=(8, 8)
    )
    assert adjusted_rand_score(digits.target, model.fit_predict(digits.data / 16, digits.target[::-1])) > 0.3
    assert (model.plan_.model["likelihood"], model.plan_.binarization) == ("bernoulli", "none")


def test_responsibilities_sum_to_one_and_do_not_depend_on_the_company(fitted: VaDE) -> None:
    X, _ = planted()
    r = fitted.predict_proba(X)
    np.testing.assert_allclose(r.sum(1), 1, atol=1e-5)
    assert np.array_equal(r.argmax(1), fitted.labels_)
    np.testing.assert_allclose(r[5:9], fitted.predict_proba(X[5:9]), atol=1e-5)
    np.testing.assert_allclose(r[::-1], fitted.predict_proba(X[::-1]), atol=1e-5)
    between = fitted.predict_proba((X[:1] + X[1:2]) / 2)
    assert between.max() <= 1


def test_samples_of_a_cluster_are_put_back_into_it_in_the_units_of_X(fitted: VaDE) -> None:
    X, _ = planted()
    for c in range(3):
        rows, clusters = fitted.sample(200, cluster=c)
        assert np.array_equal(clusters, np.full(200, c))
        assert (fitted.predict(rows) == c).mean() > 0.9
        scale = X.std(0)
        np.testing.assert_allclose(rows.mean(0) / scale, X[fitted.labels_ == c].mean(0) / scale, atol=0.35)


def test_samples_of_all_clusters_come_in_their_shares_and_are_repeatable(fitted: VaDE) -> None:
    rows, clusters = fitted.sample(600)
    assert np.abs(np.bincount(clusters, minlength=3) / 600 - 1 / 3).max() < 0.1
    assert (fitted.predict(rows) == clusters).mean() > 0.9
    assert np.array_equal(rows, fitted.sample(600)[0])


def test_scores_fall_by_the_logarithm_of_the_units(fitted: VaDE) -> None:
    X, _ = planted()
    other = clone(fitted).fit(X * 10)
    assert other.score(X * 10) == pytest.approx(fitted.score(X) - 5 * np.log(10), abs=1e-2)
    assert fitted.score_samples(X).mean() == fitted.score(X)
    with pytest.warns(DataWarning, match="lie outside the range of the fit"):
        assert fitted.score(X[:30]) > fitted.score(X[:30, ::-1])


@pytest.mark.slow
def test_the_number_of_clusters_is_searched_by_the_held_out_bound_and_then_fitted_to_all() -> None:
    X, label = planted()
    linear = {
        "hidden": (),
        "pretrain_epochs": 15,
        "epochs": 15,
        "batch_size": 80,
        "lr": 3e-2,
        "num_evidence_samples": 50,
    }
    searched = vade([1, 3], **linear).fit(X)
    assert list(searched.cluster_bounds_) == [1, 3]
    assert searched.n_clusters_ == 3
    assert searched.cluster_bounds_[3] > searched.cluster_bounds_[1] + 0.2
    alone = vade(3, **linear).fit(X)
    assert alone.cluster_bounds_ == {}
    assert np.array_equal(searched.predict_proba(X), alone.predict_proba(X))
    assert adjusted_rand_score(label, searched.labels_) > 0.5


def test_the_first_cluster_is_the_largest() -> None:
    X, label = planted()
    few = np.r_[X[label == 2], X[label == 0][:40], X[label == 1][:15]]
    model = vade(epochs=0, pretrain_epochs=30).fit(few)
    assert np.bincount(model.labels_).tolist() == sorted(np.bincount(model.labels_), reverse=True)
    assert (model.labels_[:80] == 0).mean() > 0.9


def test_no_epochs_leave_the_mixture_of_the_autoencoder() -> None:
    X, label = planted()
    begun = vade(epochs=0, pretrain_epochs=30).fit(X)
    assert [record.step for record in begun.history_] == [0]
    assert begun.n_iter_ == 0
    assert adjusted_rand_score(label, begun.labels_) > 0.9


def test_more_clusters_than_rows_is_refused_and_as_many_are_not() -> None:
    X, _ = planted(6)
    with pytest.raises(ValueError, match=r"VaDE got 5 rows to fit 6 clusters, .* fewer clusters or give more rows"):
        vade(6).fit(X)  # one of the six is held out
    with pytest.raises(ValueError, match="got 4 rows to fit 5 clusters"):  # and one more to choose the number
        vade(range(2, 6)).fit(X)
    assert vade(5, pretrain_epochs=1, epochs=1).fit(X).predict_proba(X).shape == (6, 5)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("n_clusters", [0, [], [2, 0]])
def test_no_cluster_is_refused(n_clusters: Any) -> None:
    with pytest.raises(ValueError, match="give a number of clusters from 1, or several"):
        vade(n_clusters).fit(planted()[0])


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("n_clusters", [2.5, "many", [2, 2.5]])
def test_a_number_of_clusters_is_whole(n_clusters: Any) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        vade(n_clusters).fit(planted()[0])


def test_what_makes_no_sense_is_refused(fitted: VaDE) -> None:
    with pytest.raises(NotFittedError):
        vade().predict(planted()[0])
    with pytest.raises(ValueError, match="cluster=3 and there are 3"):
        fitted.sample(2, cluster=3)
    with pytest.raises(ValueError, match="n_samples=0"):
        fitted.sample(0)
    with pytest.raises(ValueError, match=r"Bernoulli takes numbers in \[0, 1\]"):
        vade(likelihood="bernoulli").fit(planted()[0])


def test_the_course_of_the_bound_is_printed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    model = vade([2, 3], verbose=True, pretrain_epochs=2, epochs=2).fit(planted()[0])
    printed = capsys.readouterr().out
    assert "2 clusters: held out" in printed
    assert f"step {model.n_iter_}: bound {model.history_[-1].terms['bound']:.2f} nats" in printed
