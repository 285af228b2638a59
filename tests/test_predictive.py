"""Predictive checks of fitted models: by the names of the columns, for every kind of data, and in the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
import pytest

import lowerbound as lb
from lowerbound.evaluate import least_uniform
from lowerbound.report import collect, render
from lowerbound.report.predictive import predictive_illustrations

SMALL: dict[str, Any] = {"latent_dim": 2, "hidden": [4], "steps": 3, "num_samples": 2, "device": "cpu"}
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame({
    "age": RNG.normal(50, 7, 80).round(1),
    "legs": RNG.poisson(4, 80),
    "species": np.array(["ant", "cat", "dog"], dtype=object)[RNG.integers(0, 3, 80)],
})  # fmt: skip
FRAME.loc[::9, "age"] = np.nan


@pytest.mark.parametrize(
    "data, names",
    [
        (FRAME, {"age: skewness", "legs: share of zeros", "species = ant: share", "age and legs: correlation"}),
        (RNG.poisson(2, size=(60, 3)), {"0: dispersion index", "2: max"}),
        (RNG.integers(0, 256, size=(60, 5, 5), dtype=np.uint8), {"total variation", "share of ink", "mean intensity"}),
        (RNG.normal(size=(60, 5, 2)), {"0: correlation of neighbouring steps", "1: mean absolute step"}),
    ],
)
def test_statistics_have_the_names_of_the_columns(data, names):
    fitted = lb.fit(data, "vae", **SMALL)
    found = fitted.predictive_checks(num_replicates=30)
    assert names <= set(found.checks), sorted(found.checks)
    again = fitted.predictive_checks(num_replicates=30)
    assert {k: c.observed for k, c in found.checks.items()} == {k: c.observed for k, c in again.checks.items()}


def test_numbers_are_in_the_units_of_the_data():
    fitted = lb.fit(FRAME, "vae", **SMALL)
    found = fitted.predictive_checks(num_replicates=20)
    held_out = fitted.test_rows().x
    assert found.checks["age: mean"].observed == pytest.approx(np.nanmean(held_out[:, 0]), rel=1e-5)
    assert found.checks["legs: max"].observed == held_out[:, 1].max()


def test_they_are_in_the_report():
    page = render(collect(lb.fit(FRAME, "vae", **SMALL)))
    assert "<h2>Predictive checks</h2>" in page
    assert "statistics have p ≤ 0.05" in page
    assert "80%:" in page
    assert "Ranks of test rows" not in page  # 16 ranks of a column say nothing


def test_ranks_that_are_off_are_drawn_and_named():
    """A fit of three steps knows where a column is and not that it has two humps."""
    humps = np.concatenate([RNG.normal(0, 1, 200), RNG.normal(40, 1, 200)])
    frame = pandas.DataFrame({"humps": RNG.permutation(humps), "noise": RNG.normal(size=400)})
    fitted = lb.fit(frame, "vae", **SMALL)
    found = fitted.predictive_checks(num_replicates=60)
    worst, other = least_uniform(found.ranks)
    assert (worst.column, worst.p_value < 0.05, other.p_value > 0.001) == (0, True, True)
    assert found.conditional_ranks is not None
    page = render(collect(fitted))
    assert "<h2>Ranks of test rows</h2>" in page
    assert "<h2>Ranks given the other columns</h2>" in page
    assert "The model is off in humps" in page


def test_of_dates_they_are_dates_and_durations():
    days = pandas.Timestamp("2024-03-01") + pandas.to_timedelta(RNG.integers(0, 300, 120), unit="D")
    frame = pandas.DataFrame({"born": days, "x": RNG.normal(size=120)})
    fitted = lb.fit(frame, "vae", **SMALL)
    found, seen = fitted.predictive_checks(num_replicates=20), fitted.test_rows().x[:, 0]
    assert {name for name in found.checks if name.startswith("born")} == {
        "born: mean", "born: sd in days", "born: skewness", "born: min", "born: max", "born and x: correlation",
    }  # fmt: skip
    assert found.checks["born: sd in days"].observed == pytest.approx(seen.std() / 86400)
    latest = found.checks["born: max"]
    assert latest.in_words(latest.observed) == pandas.Timestamp(seen.max(), unit="s").strftime("%Y-%m-%d")
    assert latest.in_words(1e300) == "1e+300 s since 1970"
    axes = next(predictive_illustrations(found, None)).figure.axes[0]
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert any(tick.startswith(f"born: max  {latest.in_words(latest.observed)} (2") for tick in ticks)
