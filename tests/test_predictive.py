"""Predictive checks of fitted models: by the names of the columns, for every kind of data, and in the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
import pytest

import lowerbound as lb
from lowerbound.report import collect, render

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
