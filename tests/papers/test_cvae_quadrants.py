"""The recipe at toy size, and what it counts as observed."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

RECIPE = Path(__file__).parents[2] / "papers" / "cvae_quadrants.py"
WORDS = "--data digits --epochs 3 --hidden 16 --latent-dim 2 --train-images 600 --test-images 60 --samples 40"


@pytest.mark.slow
def test_it_trains_scores_draws_and_keeps_what_was_done_before(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    for count in ("1", "3"):
        words = [*WORDS.split(), "--more-samples", "80", "--observed", count, "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [str(RECIPE), *words])
        runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())
    for count, num_missing in (("1", 48), ("3", 16)):
        nats = {name: found["value"] for name, found in result[count]["nats"].items()}
        assert nats["importance sampling, S = 40"] < nats["negative ELBO"] < num_missing
        assert 0.1 * num_missing < nats["plain net"] < num_missing * 0.7  # ln 2 for each missing pixel knows nothing
        assert result[count]["nats"]["Monte Carlo, S = 80"]["num_images"] == 3
        assert len(result[count]["training"]["CVAE"]) == 3
        assert out.with_name(f"result_{count}.png").exists()


@pytest.mark.parametrize("count, missing", [(1, 588), (2, 392), (3, 196)])
def test_the_quadrants_are_those_of_the_tutorial(count, missing):
    """Lower left, the left half, all but the lower right: written here as the tutorial does, by what is missing."""
    target = torch.zeros(28, 28)
    target[14:, :14] = -1
    if count == 2:
        target[:, :14] = -1
    if count == 3:
        target[:14, :] = -1
    seen = runpy.run_path(str(RECIPE))["observed_pixels"](28, 28, count)
    assert torch.equal(~seen, (target != -1).flatten())
    assert (~seen).sum() == missing
