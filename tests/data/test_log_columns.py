"""Columns that are modelled by their logarithm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from scipy import stats

import lowerbound as lb
from lowerbound.data import DataError, Standardize
from lowerbound.data.given import dataset_of
from lowerbound.data.log_columns import log_columns

N = 240


@pytest.fixture(scope="module")
def frame() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    income = rng.lognormal(1.0, 0.8, N)
    return pandas.DataFrame({"income": income, "height": rng.normal(170, 8, N), "saved": rng.normal(0, 1, N)})


@pytest.fixture(scope="module")
def fitted(frame: pandas.DataFrame) -> lb.Fitted:
    return lb.fit(frame)


def test_the_density_is_that_of_the_values() -> None:
    rng = np.random.default_rng(1)
    raw = np.column_stack([rng.lognormal(1.0, 0.5, 50), rng.normal(3.0, 2.0, 50)])
    transform = Standardize.fit(raw, logs=np.array([True, False]))
    x = transform(torch.from_numpy(raw))
    assert x.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    np.testing.assert_allclose(transform.inverse(x).numpy(), raw, rtol=1e-5)
    m, s = transform.mean.numpy(), transform.scale.numpy()
    expected = stats.lognorm.logpdf(raw[:, 0], s[0], scale=np.exp(m[0])) + stats.norm.logpdf(raw[:, 1], m[1], s[1])
    found = torch.distributions.Normal(0, 1).log_prob(x.double()).sum(1) - transform.log_scale_of(x)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
    gap = x.clone()
    gap[:, 0] = torch.nan
    np.testing.assert_allclose(transform.log_scale_of(gap).numpy(), np.log(s[1]), rtol=1e-6)


def test_by_default_skewed_positive_columns_are_and_draws_are_positive(fitted: lb.Fitted) -> None:
    assert fitted.plan is not None
    assert fitted.plan.log_columns == ("income",)
    assert "tail" in fitted.plan.reasons["log_columns"]
    assert (fitted.sample(500)["income"] > 0).all()


def test_it_is_the_fit_of_the_logarithms(frame: pandas.DataFrame, fitted: lb.Fitted) -> None:
    logs = frame.assign(income=np.log(frame["income"]))
    by_hand = lb.fit(logs, log_columns="none").score(logs) - logs["income"].to_numpy()
    np.testing.assert_allclose(fitted.score(frame), by_hand, atol=1e-3)


def test_it_is_saved(frame: pandas.DataFrame, fitted: lb.Fitted, tmp_path: Path) -> None:
    run = fitted.save(tmp_path / "run")
    opened = lb.Fitted.open(tmp_path / "run" if run is None else run)
    np.testing.assert_array_equal(opened.score(frame[:9]), fitted.score(frame[:9]))


def test_gaps_get_the_mean_of_the_values_and_not_of_their_logarithms(fitted: lb.Fitted) -> None:
    gap = pandas.DataFrame({"income": [np.nan] * 2, "height": [170.0] * 2, "saved": [0.0] * 2})
    draws = np.stack([t["income"] for t in fitted.imputations(gap, 400, seed=1)])
    found = fitted.impute(gap, num_samples=4000)["income"]
    assert draws.mean() == pytest.approx(found[0], rel=0.2)
    assert np.median(draws) < 0.9 * found[0]  # where the mean of the logarithms lies
    cells = fitted.score_cells(gap.assign(income=2.0))
    grid = np.exp(np.linspace(-4, 7, 400))
    rows = pandas.DataFrame({"income": grid, "height": 170.0, "saved": 0.0})
    density = np.exp(fitted.score_cells(rows, num_samples=200)["income"].to_numpy())
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.05)
    assert cells.shape == (2, 3)


def test_what_has_no_logarithm_is_refused(frame: pandas.DataFrame, fitted: lb.Fitted) -> None:
    with pytest.raises(ValueError, match=r"holds 0 at row 1, column 'income', of which the model takes the logarithm"):
        fitted.score(frame[:2].assign(income=[1.0, 0.0]))
    data = dataset_of(frame)
    with pytest.raises(DataError, match=r"names 'age'; .* has income, height, saved"):
        log_columns(data, "age")
    with pytest.raises(DataError, match="'saved', which is continuous from -"):
        log_columns(data, ["saved"])
    with pytest.raises(DataError, match="no columns, as it is of kind image"):
        log_columns(dataset_of(np.arange(640, dtype=np.uint8).reshape(10, 8, 8)), ["0"])
    with pytest.raises(ValueError, match="the likelihood is not one of real numbers"):
        lb.fit(frame, "vae", likelihood="mixed", log_columns=["income"], steps=1)


def test_they_may_be_said_for_any_model(frame: pandas.DataFrame) -> None:
    made = lb.fit(frame, "vae", log_columns=["height", "income"], steps=2, hidden=[4])
    assert made.plan is not None
    assert made.plan.log_columns == ("income", "height")
    assert (made.sample(200)[["income", "height"]] > 0).all(axis=None)
