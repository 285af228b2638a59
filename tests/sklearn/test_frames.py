"""Frames with text, categories, dates and gaps, and modules, through every estimator and scikit-learn's own tools."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lowerbound import nets, posteriors, priors
from lowerbound.data import DataError
from lowerbound.sklearn import VAE, SemiSupervisedVAE, VaDE

SIZE: dict[str, Any] = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "random_state": 0, "device": "cpu"}


def small(**changes: Any) -> VAE:
    return VAE(**{**SIZE, "num_evidence_samples": 5, **changes})


def frame(rows: int = 60, *, gaps: bool = True) -> pandas.DataFrame:
    """A kind of everything; the kind of animal decides the weight."""
    rng, kind = np.random.default_rng(0), np.arange(rows) % 3
    table = pandas.DataFrame({
        "animal": pandas.Categorical.from_codes(kind, categories=["ant", "cat", "dog"]),
        "city": np.array(["Rome", "Oslo"], dtype=object)[rng.integers(0, 2, rows)],
        "born": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(rng.integers(0, 900, rows), unit="D"),
        "weight": (10.0 * kind + rng.normal(size=rows)).round(3),
        "legs": rng.poisson(2, rows),
    })  # fmt: skip
    if gaps:
        table.loc[::7, "weight"] = np.nan
        table.loc[1::9, "city"] = None
    return table


@pytest.fixture(scope="module")
def fitted() -> VAE:
    return small().fit(frame())


def test_a_frame_comes_back_as_a_frame(fitted: VAE) -> None:
    X = frame()
    assert list(fitted.feature_names_in_) == list(X.columns)
    drawn = fitted.sample(5)
    assert list(drawn.columns) == list(X.columns)
    assert drawn.dtypes[["animal", "born"]].tolist() == X.dtypes[["animal", "born"]].tolist()
    assert set(drawn["city"]) <= {"Rome", "Oslo"}
    assert list(fitted.reconstruct(X).columns) == list(X.columns)
    assert list(fitted.inverse_transform(np.zeros((2, 2))).columns) == list(X.columns)


def test_columns_of_a_frame_are_matched_by_name(fitted: VAE) -> None:
    X = frame()
    swapped = X[["legs", "weight", "born", "city", "animal"]]
    np.testing.assert_array_equal(fitted.transform(swapped), fitted.transform(X))
    np.testing.assert_array_equal(fitted.score_samples(swapped), fitted.score_samples(X))
    with pytest.raises(DataError, match="lacks 1 of the 5 columns"):
        fitted.transform(X.rename(columns={"city": "town"}))
    with pytest.raises(DataError, match="holds 'Bonn' at row 0, which the model has not seen"):
        fitted.transform(X.assign(city="Bonn"))


def test_a_gap_is_scored_by_what_is_there(fitted: VAE) -> None:
    X = frame(gaps=False)
    scores = fitted.score_samples(X.assign(weight=np.nan))
    assert np.isfinite(scores).all()
    assert not np.array_equal(scores, fitted.score_samples(X))


def test_gaps_of_a_numeric_table_are_marginalised_or_refused() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    holed = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    assert np.isfinite(small().fit(holed).score_samples(holed)).all()
    with pytest.raises(ValueError, match="holds 22 values that are NaN"):
        small(likelihood="normal").fit(holed)
    whole = small().fit(X)
    for ask in (whole.transform, whole.score_samples, whole.reconstruct):
        with pytest.raises(ValueError, match=r"nan at row .*Normal takes finite numbers"):
            ask(holed)


def test_latents_of_a_frame_as_a_frame() -> None:
    X = frame().set_index(pandas.Index(np.arange(100, 160)))
    latents = small().set_output(transform="pandas").fit(X).transform(X)
    assert list(latents.columns) == ["vae0", "vae1"]
    assert latents.index.equals(X.index)


def test_in_a_column_transformer_and_a_pipeline() -> None:
    X = frame()
    columns = ColumnTransformer([("animal", small(), ["animal", "weight"]), ("rest", "passthrough", ["legs"])])
    pipeline = make_pipeline(columns, StandardScaler())
    assert pipeline.fit_transform(X).shape == (60, 3)


def test_grid_search_over_choices_of_a_frame() -> None:
    grid = {"prior": ["standard-normal", "mixture-normal:components=2"], "latent_dim": [1, 2]}
    search = GridSearchCV(small(epochs=1, columns={"legs": "count"}), grid, cv=2).fit(frame())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_modules_are_choices_and_stay_as_they_were() -> None:
    """F22."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    q = posteriors.DiagonalNormal(nets.MLP(3, [5], (2, 2)))
    before = {name: value.clone() for name, value in q.state_dict().items()}
    vae = small(posterior=q, prior=priors.StandardNormal(2)).fit(X)
    assert vae.transform(X).shape == (40, 2)
    assert all(torch.equal(value, q.state_dict()[name]) for name, value in before.items())
    assert not torch.equal(vae.model_.posterior.net.layers[0].weight, q.net.layers[0].weight)
    copy = clone(vae)
    assert copy.posterior is not q
    np.testing.assert_array_equal(copy.fit(X).transform(X), vae.transform(X))


def test_vade_clusters_a_frame() -> None:
    X = frame()
    vade = VaDE(3, **SIZE, pretrain_epochs=5, n_init=1, num_evidence_samples=5).fit(X)
    assert vade.predict(X).tolist() == vade.labels_.tolist()
    assert np.isfinite(vade.score(X))
    rows, clusters = vade.sample(4, cluster=1)
    assert list(rows.columns) == list(X.columns)
    assert clusters.tolist() == [1] * 4


@pytest.mark.parametrize("stack", ["m2", "m1+m2"])
def test_labels_of_a_frame_are_strings(stack: Any) -> None:
    X = frame()
    y = np.where(np.arange(60) < 12, X["animal"].astype(str), -1).astype(object)
    y[y == "-1"] = -1
    model = SemiSupervisedVAE(**{**SIZE, "epochs": 40}, stack=stack, lr=2e-2).fit(X.drop(columns="animal"), y)
    assert model.classes_.tolist() == ["ant", "cat", "dog"]
    X = X.drop(columns="animal")
    assert model.predict(X).dtype.kind in "OU"
    assert list(model.sample(3, label="dog").columns) == list(X.columns)
    assert len(model.transfer(X[:4], labels=["ant", "dog"])) == 8
    if stack == "m2":
        assert model.fitted_.assign(X).tolist() == model.predict(X).tolist()


def test_a_pickled_estimator_of_a_frame_answers_the_same(fitted: VAE) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.score_samples(frame()), fitted.score_samples(frame()))
