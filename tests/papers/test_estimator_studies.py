"""The two studies of gradient estimators at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[2] / "papers"


@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs the image data in the folder LOWERBOUND_DATA")
@pytest.mark.parametrize(
    "recipe, only, pictures",
    [
        ("estimators_continuous", ["stick-the-landing", "variance loss, θ and φ"], 1),
        ("estimators_discrete", ["REBAR", "linear"], 2),
    ],
)
def test_it_trains_measures_draws_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys, recipe, only, pictures):
    words = ["--steps", "4", "--seeds", "1", "--points", "2", "--train-images", "200"]
    words += ["--parts", str(tmp_path / "parts"), "--out", str(tmp_path), "--only", *only]
    monkeypatch.setattr(sys, "argv", [recipe, *words])
    monkeypatch.syspath_prepend(RECIPES)
    runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")
    result = json.loads((tmp_path / f"{recipe}.json").read_text())
    assert {run["contender"] for run in result["runs"]} <= set(only)
    for run in result["runs"]:
        assert [point["step"] for point in run["curve"]] == [0, 2, 4]
        assert all(point["elbo"] <= point["iwae"] < 0 for point in run["curve"])
        assert all(point["variance"] > 0 for point in run["curve"])
    assert len(list(tmp_path.glob("*.png"))) == pictures
    capsys.readouterr()
    runpy.run_path(str(RECIPES / f"{recipe}.py"), run_name="__main__")
    assert f"{only[0]}_0" not in capsys.readouterr().out  # it was there already
