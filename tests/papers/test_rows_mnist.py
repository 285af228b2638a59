"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "rows_mnist.py"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA")
def test_it_trains_scores_and_draws_three_models(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--seconds 0.1 --width 8 --latent-dim 2 --evidence-samples 5 --test-images 20"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
    runpy.run_path(str(RECIPE), run_name="__main__")
    models = json.loads(out.read_text())["models"]
    assert list(models) == ["chain rule", "chain rule with a latent", "state space"]
    for name, row in models.items():
        assert row["steps"] >= 20
        assert row["exact"] == (name == "chain rule")
        assert -600 < row["log_evidence"] < -100
        assert row.get("elbo", -600) <= row["log_evidence"]
    assert out.with_suffix(".png").stat().st_size > 1000
