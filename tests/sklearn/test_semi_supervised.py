from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from lowerbound.sklearn.semi_supervised import SemiSupervisedVAE

SMALL = SemiSupervisedVAE(latent_dim=2, hidden=(16,), epochs=4, batch_size=64, lr=5e-2)
NOT_A_LABEL = "-1 is no label here, as in sklearn.semi_supervised, and the check takes it for one"
NOT_MET = {"check_classifiers_classes": NOT_A_LABEL}


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn wants a constructor that takes anything, and `fit` to explain itself: a type check speaks first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.slow  # a minute; those of `VAE`, by the same bridge, are in every run
@pytest.mark.usefixtures("without_type_checks")
@parametrize_with_checks([SMALL], expected_failed_checks=lambda estimator: NOT_MET)
def test_check_of_scikit_learn(estimator: SemiSupervisedVAE, check: Callable[[Any], None]) -> None:
    check(estimator)


def blobs(rows: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of three clusters in units far apart, their labels, and these with all but two of each hidden."""
    rng, y = np.random.default_rng(0), np.arange(rows) % 3
    centres = np.array([[0.0, 0, 0], [6, 0, 3], [0, 6, -3]])
    X = (centres[y] + rng.normal(size=(rows, 3))) * [10.0, 0.01, 1.0] + [100.0, 0, -5]
    return X, y, np.where(np.arange(rows) < 6, y, -1)


def small(**changes: Any) -> SemiSupervisedVAE:
    return clone(SMALL).set_params(**{"random_state": 0, "epochs": 12, "batch_size": 32, "lr": 3e-2, **changes})


@pytest.fixture(scope="module")
def fitted() -> SemiSupervisedVAE:
    X, _, y = blobs()
    return small(epochs=25).fit(X, y)


@pytest.mark.parametrize("changes", [{}, {"labels": "sample"}, {"stack": "m1+m2"}, {"labelled_weight": 1}])
def test_two_labels_of_each_cluster_are_enough(changes: dict[str, Any]) -> None:
    X, truth, y = blobs()
    model = small(**changes).fit(X, y)
    assert model.score(X, truth) > 0.93
    assert model.transform(X).shape == (200, 2)
    assert model.sample(4, label=2).shape == (4, 3)
    assert model.transfer(X[:5]).shape == (5, 3, 3)


def test_probabilities(fitted: SemiSupervisedVAE) -> None:
    X, *_ = blobs()
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[p.argmax(1)])


def test_samples_and_transfers_are_of_their_class(fitted: SemiSupervisedVAE) -> None:
    X, *_ = blobs()
    for label in (0, 1, 2):
        assert np.mean(fitted.predict(fitted.sample(100, label=label)) == label) > 0.8
        assert np.mean(fitted.predict(fitted.transfer(X, labels=[label])[:, 0]) == label) > 0.8
    counts = np.bincount(fitted.predict(fitted.sample(600)), minlength=3)
    assert counts.min() > 120


def test_the_units_of_X_come_back(fitted: SemiSupervisedVAE) -> None:
    X, truth, _ = blobs()
    own = fitted.transfer(X)[np.arange(len(X)), truth]
    assert np.all(np.abs(own.mean(0) - X.mean(0)) < 0.3 * X.std(0))


@pytest.mark.parametrize(
    "names",
    [np.array(["cat", "dog", "emu"], dtype=object), np.array([7, 11, 13], dtype=object), np.array([7, 11, 13])],
)
def test_labels_of_any_type(names: np.ndarray) -> None:
    X, _, y = blobs(60)
    named = names[y]
    named[y == -1] = -1
    model = small(epochs=3).fit(X, named)
    assert model.classes_.tolist() == names.tolist()
    assert set(model.predict(X)) <= set(names.tolist())
    assert model.sample(2, label=names[1]).shape == (2, 3)


@pytest.mark.parametrize("missing", [None, np.nan, pandas.NA, "", -1])
@pytest.mark.parametrize("form", [np.asarray, list, pandas.Series, lambda y: pandas.Series(y).astype("category")])
def test_text_that_is_missing_is_no_label(missing: Any, form: Callable[[np.ndarray], Any]) -> None:
    X, _, y = blobs()
    names = np.array(["low", "middle", "high"], dtype=object)
    labels = np.where(y == -1, np.array(missing, dtype=object), names[y])
    model = small(epochs=2).fit(X, form(labels))
    assert model.classes_.tolist() == ["high", "low", "middle"]


@pytest.mark.parametrize("missing", [-1, np.nan])
def test_numpy_makes_text_of_numbers(missing: float) -> None:
    X, _, y = blobs()
    labels = np.array([missing if label == -1 else ["low", "middle", "high"][label] for label in y.tolist()])
    assert labels.dtype.kind == "U"
    assert small(epochs=1).fit(X, labels).classes_.tolist() == ["high", "low", "middle"]
    signs = np.array(["-1", "1"])[np.arange(len(X)) % 2]
    assert small(epochs=1).fit(X, signs).classes_.tolist() == ["-1", "1"]


def test_images_are_binarized_anew() -> None:
    digits = load_digits()
    X, y = digits.data[:300] / 16, np.where(np.arange(300) < 100, digits.target[:300], -1)
    model = small(epochs=10, hidden=(64,), event_shape=(8, 8)).fit(X, y)
    assert (model.plan_.model["likelihood"], model.plan_.binarization) == ("bernoulli", "dynamic")
    assert model.score(X[100:], digits.target[100:300]) > 0.75
    assert np.isin(model.sample(5), (0, 1)).all()


def test_an_integer_random_state_repeats_everything() -> None:
    X, _, y = blobs(60)
    one, two = (small(epochs=2).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    np.testing.assert_array_equal(one.sample(5, label=1), two.sample(5, label=1))


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda y: np.full(len(y), -1), "all are -1"),
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: np.where(y == 0, 0, -1), "expected at least 2 classes"),
        (lambda y: y + 0.5, "continuous"),
    ],
)
def test_bad_labels_are_refused(change: Callable[[np.ndarray], np.ndarray], match: str) -> None:
    X, _, y = blobs(60)
    with pytest.raises(ValueError, match=match):
        small().fit(X, change(y))


def test_a_label_that_fit_did_not_see_is_refused(fitted: SemiSupervisedVAE) -> None:
    X, *_ = blobs()
    for ask in (lambda: fitted.sample(1, label=3), lambda: fitted.transfer(X, labels=[0, 3])):
        with pytest.raises(ValueError, match="The label 3 is none that fit saw; choose from 0, 1, 2"):
            ask()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("wrong", [{"stack": "m3"}, {"labels": "guess"}])
def test_unknown_choices_are_refused(wrong: dict[str, str]) -> None:
    X, _, y = blobs(60)
    with pytest.raises(ValueError, match="expected 'm2' or"):
        small(**wrong).fit(X, y)


def test_it_must_be_fitted() -> None:
    with pytest.raises(NotFittedError):
        small().sample()
