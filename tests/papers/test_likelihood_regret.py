"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPES = Path(__file__).parents[2] / "papers"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs the image data in the folder LOWERBOUND_DATA")
def test_likelihood_is_misled_and_the_numbers_are_those_of_the_scores(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--steps 60 --images 30 --samples 5 --refinement 10"
    monkeypatch.setattr(
        sys, "argv", ["likelihood_regret", *words.split(), "--runs", str(tmp_path / "runs"), "--out", str(out)]
    )
    monkeypatch.syspath_prepend(RECIPES)
    runpy.run_path(str(RECIPES / "likelihood_regret.py"), run_name="__main__")
    scores = json.loads(out.read_text())["scores"]
    assert list(scores) == ["log p(x)", "bits per dimension", "ratio", "regret", "typicality", "WAIC"]
    assert scores["log p(x)"]["auroc"] < 0.3
    values = np.load(out.with_suffix(".npz"))
    for name, row in scores.items():
        inside, outside = values[f"fashion-mnist | {name}"], values[f"mnist | {name}"]
        assert (len(inside), len(outside)) == (30, 30)
        above = (outside[:, None] > inside).mean() + 0.5 * (outside[:, None] == inside).mean()
        assert row["auroc"] == pytest.approx(above, abs=1e-6)
    assert out.with_suffix(".png").stat().st_size > 1000


def test_a_fit_is_made_once_and_another_is_not_taken_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(RECIPES)
    fitted = runpy.run_path(str(RECIPES / "fitted.py"))["fitted"]
    rows = tmp_path / "rows.npz"
    np.savez(rows, x=np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8))
    settings = {"model": {"latent_dim": 2, "hidden": [4]}, "steps": 3, "device": "cpu"}
    run = fitted(tmp_path / "run", rows, settings)
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert "held-out bound" in capsys.readouterr().out
    again = fitted(tmp_path / "run", rows, settings)
    assert "held-out bound" not in capsys.readouterr().out
    state, other = run.model.state_dict(), again.model.state_dict()
    assert all((state[name] == other[name]).all() for name in state)
    with pytest.raises(ValueError, match="other settings"):
        fitted(tmp_path / "run", rows, {**settings, "steps": 4})
    with pytest.raises(ValueError, match="other settings"):
        fitted(tmp_path / "run", "digits", settings)
