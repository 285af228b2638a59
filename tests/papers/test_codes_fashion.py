"""The script at toy size, on scikit-learn's digits, stopped and begun again."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[2] / "papers"


@pytest.mark.slow
def test_it_trains_scores_and_goes_on_where_it_was(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--data digits --likelihood discretized-logistic:num_levels=17 --steps 4 --prior-epochs 1 --hidden 4"
    words += " --prior-channels 4 --prior-layers 1 --test-images 20 --evidence-samples 3 --seeds 2 --vae-seeds 1"
    monkeypatch.setattr(sys, "argv", ["", *words.split(), "--out", str(out), "--runs", str(tmp_path / "runs")])
    monkeypatch.syspath_prepend(str(PAPERS))
    runpy.run_path(str(PAPERS / "codes_fashion.py"), run_name="__main__")
    models = json.loads(out.read_text())["models"]
    assert set(models) == {"fsq", "vq", "vae"}
    assert {name: [row["seed"] for row in rows] for name, rows in models.items()} == {
        "fsq": [0, 1], "vq": [0, 1], "vae": [0]
    }  # fmt: skip
    fsq, vq = models["fsq"][0], models["vq"][0]
    assert vq["uniform_rate"] == pytest.approx(16 * math.log(128))
    assert fsq["log_evidence"] == pytest.approx(-fsq["rate"] - fsq["distortion"])
    assert models["fsq"][1]["log_evidence"] != fsq["log_evidence"]
    assert out.with_suffix(".png").stat().st_size > 1000
    runpy.run_path(str(PAPERS / "codes_fashion.py"), run_name="__main__")
    assert json.loads(out.read_text())["models"] == models
