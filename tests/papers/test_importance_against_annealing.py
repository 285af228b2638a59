"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

from lowerbound.evaluate import log_evidence
from lowerbound.fitted import Fitted

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[2] / "papers"


@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA")
def test_every_estimate_is_there_and_they_are_of_one_model(tmp_path, monkeypatch):
    out, folder = tmp_path / "result.json", tmp_path / "run"
    words = "--epochs 0.1 --test-images 6 --annealed-images 3 --simulated-images 4 --distributions 6 --chains 3"
    words = [*words.split(), "--samples", "1", "200", "--run", str(folder), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["importance_against_annealing", *words])
    monkeypatch.syspath_prepend(RECIPES)
    runpy.run_path(str(RECIPES / "importance_against_annealing.py"), run_name="__main__")
    result = json.loads(out.read_text())
    run = Fitted.open(folder)
    assert {"latent_dim": 50, "hidden": [200, 200], "activation": "tanh"}.items() <= run.plan.model.items()
    curve = result["importance"]
    got = log_evidence(run.model, run.events(run.dataset.x_test[:6], seed=0), num_samples=200, seed=200)
    assert curve["200"]["mean"] == pytest.approx(got.mean, abs=1e-3)
    assert curve["200"]["mean_of_annealed_images"] == pytest.approx(got.log_evidence[:3].mean().item(), abs=1e-3)
    assert curve["1"]["mean"] < curve["200"]["mean"]
    for start in ("posterior", "prior"):
        row, pair = result[f"annealed from the {start}"], result[f"sandwich from the {start}"]
        assert abs(row["mean"] - curve["200"]["mean_of_annealed_images"]) < 40
        assert row["sampling_error"] > 0
        assert pair["gap"] == pytest.approx(pair["upper"] - pair["lower"], abs=1e-3)
    assert out.with_suffix(".png").stat().st_size > 1000
