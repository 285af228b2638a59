"""The script at toy size, on scikit-learn's digits."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "papers" / "pixels.py"


@pytest.mark.slow
@pytest.mark.parametrize("pixels", ["bits", "levels"])
def test_it_trains_scores_and_draws_every_model(tmp_path, monkeypatch, pixels):
    out = tmp_path / "result.json"
    words = f"--pixels {pixels} --steps 4 --hidden 8 --channels 4 --layers 1 --latent-dim 2 --evidence-samples 3"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words.split(), "--out", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    models = json.loads(out.read_text())["models"]
    assert len(models) == 9
    for name, row in models.items():
        assert -250 < row["log_evidence"] < -20
        assert ("rate" in row) == (name != "no latents")
        assert row.get("elbo", -1e9) <= row["log_evidence"]
    assert out.with_suffix(".png").stat().st_size > 1000


def test_a_folder_of_runs_with_other_options_is_refused(tmp_path, monkeypatch):
    words = "--only vae --steps 4 --hidden 8 --latent-dim 2 --evidence-samples 3"
    folders = ["--runs", str(tmp_path), "--out", str(tmp_path / "result.json")]

    def run(*more: str) -> float:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words.split(), *folders, *more])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return json.loads((tmp_path / "result.json").read_text())["models"]["vae"]["log_evidence"]

    assert run() == run()
    with pytest.raises(ValueError, match="vae holds a run with other options"):
        run("--lr", "0.1")
