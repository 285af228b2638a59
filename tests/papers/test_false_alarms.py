"""The recipe at toy size."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from scipy.stats import binom

from lowerbound.diagnosis import PROBLEMS

RECIPE = Path(__file__).parents[2] / "papers" / "false_alarms.py"


@pytest.mark.slow
def test_every_illness_is_counted(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = [str(RECIPE), "--fits", "2", "--steps", "30", "--num-rows", "20", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(RECIPE.parent)
    runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())
    assert [fit["objective"] for fit in result["fits"]] == ["elbo", "iwae"]
    for fit in result["fits"]:
        assert list(fit["findings"]) == list(PROBLEMS)
        assert fit["alarms"] == [name for name, found in fit["findings"].items() if found["present"]]
    rates = result["rates"]
    alarms = sum(len(fit["alarms"]) for fit in result["fits"])
    assert rates["all findings"]["alarms"] == alarms
    assert sum(rates[name]["alarms"] for name in PROBLEMS if name in rates) == alarms


@pytest.mark.parametrize("alarms, count", [(0, 20), (3, 20), (20, 20)])
def test_the_interval_is_that_of_clopper_and_pearson(alarms, count, monkeypatch):
    monkeypatch.syspath_prepend(RECIPE.parent)
    low, high = runpy.run_path(str(RECIPE))["rate"](alarms, count)["interval"]
    assert alarms == 0 or binom.sf(alarms - 1, count, low) == pytest.approx(0.025)
    assert alarms == count or binom.cdf(alarms, count, high) == pytest.approx(0.025)
    assert (low == 0) is (alarms == 0)
