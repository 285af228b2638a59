from __future__ import annotations

import io
import pickle
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lowerbound.data.given import dataset_of
from lowerbound.fitting.planning import plan
from lowerbound.sklearn import VAE

UNITS = np.array([10.0, 0.01, 3.0])


def table(rows: int = 200) -> np.ndarray:
    """Three columns with one factor in common, in units far from each other."""
    rng = np.random.default_rng(0)
    return ((rng.normal(size=(rows, 1)) + 0.5 * rng.normal(size=(rows, 3))) * UNITS + [5.0, -1.0, 100.0]).astype(float)


def digits(rows: int = 100) -> np.ndarray:
    return load_digits().data[:rows] / 16


def small(**changes: Any) -> VAE:
    return VAE(
        **{"latent_dim": 2, "hidden": (8,), "epochs": 2, "random_state": 0, "num_evidence_samples": 20, **changes}
    )


@pytest.fixture(scope="module")
def linear() -> VAE:
    """A linear decoder: p(X) = N(mean + scale b, scale (W Wᵀ + σ² I) scale) is known exactly."""
    chosen = {"hidden": (), "latent_dim": 1, "objective": "elbo", "epochs": 60, "batch_size": 50, "lr": 1e-2}
    return small(**chosen, num_evidence_samples=1000).fit(table())


def exact(vae: VAE) -> Any:
    likelihood: Any = vae.model_.likelihood
    with torch.no_grad():
        weight, bias = likelihood.net.layers[0].weight.double(), likelihood.net.layers[0].bias.double()
        sigma = likelihood(torch.zeros(1, 1)).base_dist.scale[0].double()
    covariance = (weight @ weight.T + torch.diag(sigma**2)).numpy()
    scale = vae.fitted_.transform.scale.numpy()
    return multivariate_normal(vae.fitted_.stored(bias), covariance * scale[:, None] * scale)


def test_score_samples_is_the_log_density_in_the_units_of_X(linear: VAE) -> None:
    X = table(50)
    log_p, scored = exact(linear).logpdf(X), linear.score_samples(X)
    assert scored.dtype == np.float64
    assert np.all(scored < log_p + 1.0)
    assert np.mean(scored - log_p) == pytest.approx(0, abs=0.05)  # the Jacobian alone is 1.2 nats
    assert linear.score(X) == pytest.approx(scored.mean())


def test_scores_follow_a_change_of_units() -> None:
    """The density of 1000 X is that of X divided by 1000, per column."""
    X = table()
    metres, millimetres = small().fit(X), small().fit(1000 * X)
    expected = metres.score_samples(X) - 3 * np.log(1000)
    np.testing.assert_allclose(millimetres.score_samples(1000 * X), expected, atol=1e-3)


def test_samples_have_the_moments_of_the_model(linear: VAE) -> None:
    X = linear.sample(20_000)
    target = exact(linear)
    spread = np.sqrt(np.diag(target.cov))
    assert np.all(np.abs(X.mean(0) - target.mean) < 5.5 * spread / np.sqrt(len(X)))
    np.testing.assert_allclose(np.cov(X.T) / np.outer(spread, spread), target.cov / np.outer(spread, spread), atol=0.06)


def test_inverse_transform_is_the_mean_of_X_given_z(linear: VAE) -> None:
    likelihood: Any = linear.model_.likelihood
    weight = likelihood.net.layers[0].weight.detach().double().numpy()[:, 0]
    X = linear.inverse_transform(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(X[0], exact(linear).mean, rtol=1e-5)
    np.testing.assert_allclose(X[1] - X[0], weight * linear.fitted_.transform.scale.numpy(), rtol=1e-4)


def test_reconstruct_is_inverse_transform_of_transform(linear: VAE) -> None:
    X = table(10)
    np.testing.assert_allclose(linear.reconstruct(X), linear.inverse_transform(linear.transform(X)))
    unexplained = ((linear.reconstruct(X) - X) / UNITS).std()
    assert unexplained < 0.75  # a third of the spread is noise; without a latent it would be 1.1


def test_training_raises_the_score(linear: VAE) -> None:
    X = table()
    assert linear.score(X) > small(epochs=1, hidden=(), latent_dim=1).fit(X).score(X) + 0.3


def test_history_and_number_of_steps() -> None:
    vae = small(epochs=3, batch_size=30).fit(table(100))
    assert vae.plan_.steps == 9
    assert vae.n_iter_ == 9  # 90 rows are trained on, ten are held out
    assert vae.history_[-1].step == 9
    assert vae.history_[-1].held_out is not None


def test_a_small_table_is_seen_once_an_epoch() -> None:
    """A batch larger than the data would see every row several times a step."""
    assert small(epochs=7).fit(table(20)).n_iter_ == 7


def test_patience_stops_early() -> None:
    vae = small(epochs=50, lr=1e-12, patience=2).fit(table(50))
    assert vae.n_iter_ < 50
    assert vae.history_[-1].stopped is not None


def test_the_estimator_has_no_defaults_of_its_own() -> None:
    """What is left None is decided by the plan of the data, with its reasons."""
    left_open = {name for name in VAE._SETTINGS if getattr(VAE(), name) is None}
    assert left_open == set(VAE._SETTINGS)
    ours = small().fit(table(40)).plan_
    theirs = plan(
        dataset_of(table(40), hold_out=False), "vae", latent_dim=2, hidden=(8,), epochs=2, seed=0, device="auto"
    )
    assert ours == theirs
    assert ours.reasons["likelihood"] == "the data are of kind table"


@pytest.mark.parametrize("method", ["fit_transform", "score_samples", "sample"])
def test_an_integer_random_state_repeats_everything(method: str) -> None:
    X = digits()

    def answer() -> np.ndarray:
        vae = small()
        if method == "fit_transform":
            return vae.fit_transform(X)
        vae.fit(X)
        return vae.sample(5) if method == "sample" else vae.score_samples(X)

    np.testing.assert_array_equal(answer(), answer())


def test_a_generator_as_random_state_moves_on() -> None:
    vae = small(random_state=np.random.RandomState(0)).fit(table())
    assert not np.array_equal(vae.sample(5), vae.sample(5))


def test_the_random_state_of_the_caller_is_untouched() -> None:
    X = digits()
    before = torch.get_rng_state()
    vae = small().fit(X)
    vae.score_samples(X), vae.sample(3), vae.transform(X)
    assert torch.equal(torch.get_rng_state(), before)


def test_grey_values_are_probabilities_under_bernoulli() -> None:
    X = digits()
    vae = small(event_shape=(8, 8)).fit(X)
    assert (vae.plan_.model["likelihood"], vae.plan_.binarization) == ("bernoulli", "dynamic")
    assert set(np.unique(vae.sample(20))) == {0.0, 1.0}
    assert np.all((vae.reconstruct(X) > 0) & (vae.reconstruct(X) < 1))
    np.testing.assert_array_equal(vae.score_samples(X), vae.score_samples(X))
    assert np.all(vae.score_samples(X) < 0)  # a log-probability of a binarized image


def test_binary_rows_are_scored_as_they_are() -> None:
    X = (digits() > 0.5).astype(float)
    vae = small(num_evidence_samples=500, event_shape=(8, 8)).fit(X)
    assert vae.plan_.model["likelihood"] == "bernoulli"
    flipped = X.copy()
    flipped[:, 0] = 1 - flipped[:, 0]  # a corner that is always dark
    assert np.all(vae.score_samples(X) > vae.score_samples(flipped))


def test_threshold_is_applied_before_encoding_and_scoring() -> None:
    X = digits()
    vae = small(likelihood="bernoulli", binarization="threshold").fit(X)
    cut = (X > 0.5).astype(float)
    np.testing.assert_array_equal(vae.transform(X), vae.transform(cut))
    np.testing.assert_array_equal(vae.score_samples(X), vae.score_samples(cut))


def test_rows_as_images_for_a_convolutional_net() -> None:
    X = digits(40)
    vae = small(network="convolution", hidden=(4, 8), event_shape=(8, 8)).fit(X)
    assert vae.transform(X).shape == (40, 2)
    assert vae.sample(3).shape == vae.inverse_transform(np.zeros((3, 2))).shape == (3, 64)


def test_columns_of_a_table_have_names_in_and_out() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table(40), columns=["a", "b", "c"])
    vae = small().fit(frame)
    assert list(vae.feature_names_in_) == ["a", "b", "c"]
    assert list(vae.get_feature_names_out()) == ["vae0", "vae1"]
    latents = vae.set_output(transform="pandas").transform(frame)
    assert list(latents.columns) == ["vae0", "vae1"]
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(frame[["b", "a", "c"]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers_have_the_type_of_the_question(dtype: Any) -> None:
    X = table(40).astype(dtype)
    vae = small().fit(X)
    for answer in (vae.transform(X), vae.reconstruct(X), vae.sample(2), vae.inverse_transform(vae.transform(X))):
        assert answer.dtype == dtype


@pytest.mark.parametrize("library", [pickle, joblib])
def test_a_pickled_estimator_answers_the_same(library: Any) -> None:
    X = table(40)
    vae = small(prior="vamp-prior:components=5,bounded=False").fit(X)
    file = io.BytesIO()
    library.dump(vae, file)
    file.seek(0)
    copy = library.load(file)
    for method in ("transform", "score_samples", "reconstruct"):
        np.testing.assert_array_equal(getattr(copy, method)(X), getattr(vae, method)(X))


def test_a_clone_has_the_parameters_and_is_not_fitted() -> None:
    vae = small(lr=1e-4).fit(table(40))
    copy = clone(vae)
    assert copy.get_params() == vae.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(table(40))


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples", "score", "reconstruct"])
def test_nothing_is_answered_before_fit(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(VAE(), method)(table(4))
    with pytest.raises(NotFittedError):
        VAE().sample()


def test_in_a_pipeline() -> None:
    X = table(60)
    pipeline = make_pipeline(StandardScaler(), small())
    assert pipeline.fit_transform(X).shape == (60, 2)
    assert np.isfinite(pipeline.score(X))
    assert pipeline.inverse_transform(np.zeros((1, 2))).shape == (1, 3)


def test_grid_search_over_latent_dim() -> None:
    search = GridSearchCV(small(epochs=1), {"latent_dim": [1, 2]}, cv=2).fit(table(60))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.transform(table(60)).shape[1] == search.best_params_["latent_dim"]


def test_integers_of_numpy_are_whole_numbers_too() -> None:
    vae = small()
    vae.latent_dim, vae.hidden = np.int64(3), (np.int32(5),)  # type: ignore[assignment]
    assert vae.fit_transform(table(20)).shape == (20, 3)


def test_no_files_are_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small().fit(table(40)).score(table(40))
    assert list(tmp_path.iterdir()) == []


def test_verbose_prints_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    small(verbose=True).fit(table(40))
    assert "nats, held out" in capsys.readouterr().out
    small().fit(table(40))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"likelihood": "bernoulli"}, r"\[0, 1\]"),
        ({"likelihood": "bernuolli"}, "no likelihood named"),
        ({"prior": "standard"}, "no prior named"),
        ({"event_shape": (2, 2)}, "product is the number of columns"),
        ({"network": "convolution"}, "image shape"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"lr": -1.0}, "lr=-1 and needs a finite number above 0"),
        ({"objective": "elbo", "gradient": "dreg"}, "DReG"),
        ({"binarization": "dynamic"}, "not one of 0 and 1"),
        ({"likelihood": "bernoulli", "binarization": "dynamic"}, r"binarization takes numbers in \[0, 1\]"),
    ],
)
def test_refusals_of_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**changes).fit(table(20))


def test_refusals_after_fit() -> None:
    X = digits(30)
    vae = small(event_shape=(8, 8)).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        vae.transform(np.where(X == 0, np.nan, X))
    with pytest.raises(ValueError, match="features"):
        vae.transform(X[:, 1:])
    with pytest.raises(ValueError, match=r"expected numbers in \[0, 1\]|are numbers in \[0, 1\]"):
        vae.score_samples(2 * X)
    with pytest.raises(ValueError, match="latents of length 3"):
        vae.inverse_transform(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="0 draws"):
        vae.sample(0)
    vae.num_evidence_samples = 0
    with pytest.raises(ValueError, match="num_samples=0"):
        vae.score_samples(X)
