"""The recipe at toy size."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "semi_supervised_mnist.py"


@pytest.mark.slow
def test_every_model_is_scored_once(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--data digits --labels 100 --epochs 1 --vae-epochs 1 --hidden 20 --out"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), str(out)])
    runpy.run_path(str(RECIPE), run_name="__main__")
    cells = json.loads(out.read_text())
    assert [cell["model"] for cell in cells.values()] == ["network", "m1", "m1+m2", "m2"]
    for cell in cells.values():
        assert cell["finished"]
        assert 0 <= cell["error_percent"] <= 100
        assert cell["published_error_percent"] is None  # those are of MNIST
    assert cells["network 100 0"]["error_percent"] < 50
    assert [len(cells[f"{name} 100 0"]["curve"]) for name in ("m2", "m1+m2")] == [1, 1]
    assert out.with_suffix(".png").stat().st_size > 1000
    written = out.stat().st_mtime_ns
    runpy.run_path(str(RECIPE), run_name="__main__")
    assert out.stat().st_mtime_ns == written  # what is finished is not run again
