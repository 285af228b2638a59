"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "iwae_one_layer.py"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA")
def test_it_trains_scores_and_saves(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--epochs 1 --train-images 600 --test-images 20 --evidence-samples 30"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
    monkeypatch.syspath_prepend(RECIPE.parent)
    runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())
    assert result["num_samples"] == 30
    assert result["num_images"] == 20
    assert 100 < result["negative_log_likelihood"] <= result["negative_elbo"] < 600
    assert {"latent_dim": 50, "hidden": [200, 200], "activation": "tanh"}.items() <= result["settings"]["model"].items()
