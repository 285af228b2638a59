"""The recipe at toy size, and its simulator."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

RECIPE = Path(__file__).parents[2] / "papers" / "state_space.py"


@pytest.mark.slow
def test_it_fits_both_models_and_forecasts(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--steps 3 --particles 50 --length 13 --series 60 --test-series 5 --evidence-samples 5 --latent-dim 2"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
    runpy.run_path(str(RECIPE), run_name="__main__")
    models = json.loads(out.read_text())["models"]
    assert list(models) == ["nonlinear", "linear-Gaussian"]
    for row in models.values():
        assert row["elbo"] <= row["log_evidence"]
        assert row["forecast_rmse"] > 0.05
    assert models["nonlinear"]["as_it_was_rmse"] == models["linear-Gaussian"]["as_it_was_rmse"]
    assert models["nonlinear"]["parameters_of_p"] > models["linear-Gaussian"]["parameters_of_p"] == 8 + 2 * 3 + 2
    assert out.with_suffix(".png").stat().st_size > 1000


def test_a_reading_is_the_angle_and_noise_of_a_tenth():
    x, angle = runpy.run_path(str(RECIPE))["pendulum"](500, 0, 50)
    noise = x - torch.stack([angle.sin(), angle.cos()], -1)
    assert noise.std().item() == pytest.approx(0.1, rel=0.03)
    assert angle[:, 1:].sub(angle[:, :-1]).abs().max() < 1.5
