"""The script at toy size, on scikit-learn's digits, stopped and begun again."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[2] / "papers"


@pytest.mark.slow
def test_it_trains_for_equal_passes_and_equal_time_and_goes_on_where_it_was(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--data digits --steps 4 --test-images 20 --evidence-samples 3 --only ladder dense ladder-longer draw"
    monkeypatch.setattr(sys, "argv", ["", *words.split(), "--out", str(out), "--runs", str(tmp_path / "runs")])
    monkeypatch.syspath_prepend(str(PAPERS))
    runpy.run_path(str(PAPERS / "dense_path.py"), run_name="__main__")
    contenders = json.loads(out.read_text())["contenders"]
    assert [*contenders] == ["ladder", "dense", "ladder-longer", "draw"]
    assert {name: len(found["rates"]) for name, found in contenders.items()} == {
        "ladder": 3, "dense": 8, "ladder-longer": 3, "draw": 10,
    }  # fmt: skip
    assert [contenders[name]["steps"] for name in ("ladder", "dense", "draw")] == [4, 4, 4]
    timing = json.loads((tmp_path / "runs" / "ladder-longer-steps.json").read_text())
    assert contenders["ladder-longer"]["equal_time"] == timing
    seconds = timing["seconds_of_a_step"]
    assert contenders["ladder-longer"]["steps"] == max(1, round(4 * seconds["dense"] / seconds["ladder-longer"]))
    assert contenders["ladder"]["gain_on_ladder"] == {"mean": 0, "standard_error": 0}
    losses = [contenders[name]["negative_log_likelihood"] for name in ("ladder", "dense")]
    assert contenders["dense"]["gain_on_ladder"]["mean"] == pytest.approx(losses[0] - losses[1], abs=2e-3)
    assert out.with_suffix(".png").stat().st_size > 1000
    runpy.run_path(str(PAPERS / "dense_path.py"), run_name="__main__")
    assert json.loads(out.read_text())["contenders"] == contenders
