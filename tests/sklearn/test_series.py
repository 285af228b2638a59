"""Tables of steps through the estimators: a series is a datum."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from sklearn.base import clone

from lowerbound.sklearn import VAE, VaDE

OPTIONS = {"series": "patient", "time": "day", "epochs": 2, "random_state": 0, "device": "cpu"}


def steps(num: int = 24, *, short: int = 0) -> pandas.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for i in range(num):
        walk = rng.normal(size=(5, 2)).cumsum(0).round(3)
        rows += [(f"p{num - i}", 3 + t, *walk[t]) for t in range(5 - short * (i % 2))]
    return pandas.DataFrame(rows, columns=["patient", "day", "pulse", "weight"])


def test_results_are_those_of_series() -> None:
    X = steps()
    vae = VAE(latent_dim=2, hidden=(8,), num_evidence_samples=5, **OPTIONS).fit(X)
    assert vae.fitted_.schema.kind == "series"
    assert (vae.n_features_in_, list(vae.feature_names_in_)) == (4, list(X.columns))
    z, scores = vae.transform(X), vae.score_samples(X)
    assert (z.shape, scores.shape) == ((24, 2), (24,))
    np.testing.assert_array_equal(scores, vae.fitted_.score(X, num_samples=5))
    mixed = X.groupby("patient", sort=False).sample(frac=1, random_state=0)  # times say the order of steps
    np.testing.assert_array_equal(vae.transform(mixed), z)
    again = vae.reconstruct(X)
    assert again[["patient", "day"]].equals(X[["patient", "day"]])
    assert list(vae.sample(3).columns) == list(vae.inverse_transform(z).columns) == list(X.columns)
    assert len(vae.inverse_transform(z)) == len(X)
    assert clone(vae).get_params()["series"] == "patient"


def test_series_of_unequal_length_get_the_model_that_takes_them() -> None:
    X = steps(short=2)
    vae = VAE(**OPTIONS).fit(X)
    assert vae.plan_.recipe == "hidden-markov"
    assert np.isfinite(vae.score_samples(X)).all()


def test_clusters_are_of_series() -> None:
    X = steps()
    labels = VaDE(2, latent_dim=2, hidden=(8,), pretrain_epochs=1, **OPTIONS).fit(X).predict(X)
    assert labels.shape == (24,)


def test_what_is_no_table_of_steps_is_refused() -> None:
    vae = VAE(latent_dim=2, hidden=(8,), **OPTIONS)
    with pytest.raises(ValueError, match="series='patient' names a column of a table of steps and X is no table"):
        vae.fit(np.zeros((4, 5, 2)))
    vae.fit(steps())
    with pytest.raises(ValueError, match="X is no table"):
        vae.transform(np.zeros((4, 10)))
    with pytest.raises(ValueError, match="X has no 'patient'; the nearest"):
        vae.transform(steps().drop(columns="patient"))
