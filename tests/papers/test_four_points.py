"""The four points: the sum over the grid is log p(x), and the script writes what it says."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

import lowerbound as lb

SCRIPT = Path(__file__).parents[2] / "papers" / "four_points.py"


def test_the_sum_over_the_grid_is_that_of_importance_sampling():
    torch.manual_seed(0)
    model = lb.models.vae((4,), latent_dim=2, hidden=[8])
    exact = runpy.run_path(str(SCRIPT))["exact_evidence"](model.eval())
    assert exact == pytest.approx(lb.evaluate.log_evidence(model, torch.eye(4), num_samples=20_000).mean, abs=0.01)


@pytest.mark.slow
def test_the_script_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--steps", "10", "--seeds", "1", "--out", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = json.loads((tmp_path / "four_points.json").read_text())
    assert found["best"] == -math.log(4)
    assert found["avb"]["median"] < found["best"]
    assert (tmp_path / "four_points.png").stat().st_size > 1000
