"""`lowerbound fit series.npy --recipe hidden-markov`: from series with gaps to states, by the command and in Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lowerbound.cli import main
from lowerbound.fitted import Fitted


def series() -> tuple[np.ndarray, np.ndarray]:
    """Readings of two places over two sticky states, in large units, with gaps and early ends; and the states."""
    rng = np.random.default_rng(0)
    c = (rng.random((40, 25)) > 0.9).cumsum(1) % 2
    x = 200 + 10 * (4 * c[..., None] * [1, -1] + rng.normal(size=(40, 25, 2)))
    x[::3, 7:9] = np.nan
    x[1::3, 20:] = np.nan
    x[2, 4, 0] = np.nan
    return x, c


@pytest.fixture(scope="module")
def fitted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    np.savez(folder / "series.npz", x_train=series()[0][:30], x_test=series()[0][30:])
    words = ["--recipe", "hidden-markov:states=2", "--out", str(folder / "run"), "--device", "cpu", "--no-evaluate"]
    assert main(["fit", str(folder / "series.npz"), *words]) == 0
    return folder / "run"


def test_the_command_scores_exactly_and_finds_the_states(cli, fitted_run, tmp_path):
    (x, c), fitted = series(), Fitted.open(fitted_run)
    scores = json.loads(cli("evaluate", fitted_run, "--json").out)
    assert (scores["exact"], scores["num_samples"]) == (True, 1)
    assert scores["elbo"] == pytest.approx(scores["log_evidence"], abs=1e-3)
    assert scores["elbo"] > scores["baselines"]["independent elements"]["log_likelihood"] + 10
    many = json.loads(cli("evaluate", fitted_run, "--json", "--num-samples", 20).out)
    assert many["log_evidence"] == pytest.approx(scores["log_evidence"], abs=1e-3)
    assert "log p(x), exactly" in cli("evaluate", fitted_run).out

    assert cli("encode", fitted_run, "--out", tmp_path / "codes.npz").code == 0
    with np.load(tmp_path / "codes.npz") as codes:
        states, gamma = codes["states"], codes["mean"].reshape(10, 25, 2)
    right = np.mean((states == c[30:])[:, :20])
    assert max(right, 1 - right) > 0.97
    np.testing.assert_allclose(gamma.sum(-1), 1, rtol=1e-5)
    assert np.mean(gamma.argmax(-1) == states) > 0.97
    encoded = fitted.encode(x[30:])
    np.testing.assert_array_equal(encoded.states, states)

    assert cli("encode", fitted_run, "--out", tmp_path / "codes.csv").code == 0
    header, first, *_ = (tmp_path / "codes.csv").read_text().splitlines()
    assert header.startswith("row,state_0,state_1,")
    assert first.split(",")[1:26] == [str(k) for k in states[0]]

    assert cli("score", fitted_run, "--out", tmp_path / "scores.csv").code == 0
    written = np.loadtxt(tmp_path / "scores.csv", delimiter=",", skiprows=1)[:, 1]
    np.testing.assert_allclose(written, fitted.score(x[30:]), rtol=1e-5)
    assert np.mean(written) == pytest.approx(scores["log_evidence"], abs=1e-3)


def test_a_series_is_scored_alike_in_a_saved_folder_and_among_others(fitted_run, tmp_path):
    x, fitted = series()[0][30:], Fitted.open(fitted_run)
    again = Fitted.open(fitted.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again.score(x), fitted.score(x))
    np.testing.assert_allclose(fitted.score(x[3:5]), fitted.score(x)[3:5], rtol=1e-6)
    drawn = again.sample(50, seed=1)
    assert drawn.shape == (50, 25, 2)
    assert np.isfinite(drawn).all()
    assert abs(drawn[..., 0].mean() - np.nanmean(series()[0][..., 0])) < 4


def test_gaps_of_series_are_filled_between_the_places_of_the_states(cli, fitted_run, tmp_path):
    (x, c), fitted = series(), Fitted.open(fitted_run)
    np.save(tmp_path / "x.npy", x)
    assert cli("impute", fitted_run, "--data", tmp_path / "x.npy", "--out", tmp_path / "filled.npz").code == 0
    with np.load(tmp_path / "filled.npz") as file:
        filled = file["x"]
    np.testing.assert_allclose(filled, fitted.impute(x), rtol=1e-6)
    gap, truth = np.isnan(x), 200 + 40 * c[..., None] * [1, -1]
    np.testing.assert_array_equal(filled[~gap], x[~gap])
    inside = gap[:, :19]  # of gaps between steps that were seen
    assert np.abs(filled - truth)[:, :19][inside].mean() < 8
    assert "write .npz" in cli("impute", fitted_run, "--data", tmp_path / "x.npy", "--out", tmp_path / "x.csv").err


def test_the_report_draws_the_states(cli, fitted_run):
    assert cli("report", fitted_run).code == 0
    page = (fitted_run / "report.html").read_text()
    assert "States behind the series" in page
    assert "Lines of up to three test series over 25 steps" in page


def test_bad_series_are_refused_in_a_sentence(refused, tmp_path):
    x, _ = series()
    np.save(tmp_path / "ok.npy", x)
    np.save(tmp_path / "short.npy", x[:, :1])
    np.save(tmp_path / "few.npy", x[:4, :2])
    to = ("--out", tmp_path / "run")
    assert "got states=1" in refused("fit", tmp_path / "ok.npy", "--recipe", "hidden-markov:states=1", *to)
    assert "show no transition" in refused("fit", tmp_path / "short.npy", "--recipe", "hidden-markov", *to)
    many = refused("fit", tmp_path / "few.npy", "--recipe", "hidden-markov:states=50", *to)
    assert "observed steps for 50 states" in many
    words = ("--likelihood", "normal:scale=heteroscedastic", *to)
    assert "a step is seen or not" in refused("fit", tmp_path / "ok.npy", "--recipe", "hidden-markov", *words)
    for recipe in ("state-space", "autoregressive-rows:likelihood=normal"):
        sentence = refused("fit", tmp_path / "ok.npy", "--recipe", recipe, *to)
        assert "holds nan at row" in sentence
        assert "taken by the recipe hidden-markov in series" in sentence


@pytest.mark.parametrize("recipe", ["state-space", "autoregressive-rows"])
def test_a_model_of_whole_series_names_the_recipe_that_fills_gaps(cli, refused, tmp_path, recipe):
    x = np.random.default_rng(0).normal(size=(30, 4, 2))
    np.save(tmp_path / "whole.npy", x)
    np.save(tmp_path / "gaps.npy", np.where(x > 1, np.nan, x))
    small = f"{recipe}:likelihood=normal,latent_dim=2,hidden=[4],recurrent_dim=4"
    words = ("--steps", 1, "--device", "cpu", "--no-evaluate", "--out", tmp_path / "run")
    assert cli("fit", tmp_path / "whole.npy", "--recipe", small, *words).code == 0
    sentence = refused("impute", tmp_path / "run", "--data", tmp_path / "gaps.npy", "--out", tmp_path / "full.npz")
    assert "takes no missing entries" in sentence
    assert sentence.endswith("in series by the recipe hidden-markov.")
    assert "by the recipe hidden-markov in series" in refused(
        "evaluate", tmp_path / "run", "--data", tmp_path / "gaps.npy"
    )
