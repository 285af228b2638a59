"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "layers_mnist.py"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA")
def test_contenders_are_trained_scored_drawn_and_kept(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--minutes 0.01 --train-images 600 --test-images 5 --evidence-samples 20 --no-compile"
    for name in ("ladder3", "one"):
        monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--only", name, "--out", str(out)])
        runpy.run_path(str(RECIPE), run_name="__main__")
    contenders = json.loads(out.read_text())["contenders"]
    assert [*contenders] == ["one", "ladder3"]
    for name, layers in {"one": 1, "ladder3": 3}.items():
        assert len(contenders[name]["active_units"]) == len(contenders[name]["rates"]) == layers
        assert 100 < contenders[name]["negative_log_likelihood"] <= contenders[name]["negative_elbo"] < 600
    assert contenders["one"]["gain_on_one_layer"] == {"mean": 0, "standard_error": 0}
    losses = [contenders[name]["negative_log_likelihood"] for name in ("one", "ladder3")]
    assert contenders["ladder3"]["gain_on_one_layer"]["mean"] == pytest.approx(losses[0] - losses[1], abs=2e-3)
    assert {path.name for path in tmp_path.glob("*.png")} == {"result_samples.png", "result_rates.png"}
