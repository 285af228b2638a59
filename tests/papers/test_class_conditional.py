"""The recipe at toy size, and its numbers on probabilities that are known."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

RECIPE = Path(__file__).parents[2] / "papers" / "class_conditional.py"
WORDS = "--data digits --epochs 15 --classifier-epochs 8 --hidden 32 --channels 8 8 --latent-dim 2 --samples 20"


@pytest.mark.slow
def test_it_trains_judges_and_draws(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *WORDS.split(), "--out", str(out)])
    runpy.run_path(str(RECIPE), run_name="__main__")
    judged = json.loads(out.read_text())["judged"]
    assert judged["real test images"]["recognised"][0] > 0.5  # the classifier learns
    assert judged["CVAE"]["recognised"][0] > 0.3  # ten classes at chance are 0.1
    assert np.array(judged["CVAE"]["confusion"]).sum(1).tolist() == [20] * 10
    assert sum(judged["plain VAE"]["histogram"]) == 200
    assert "recognised" not in judged["plain VAE"]
    assert out.with_suffix(".png").exists()


def test_numbers_of_known_probabilities():
    tools = runpy.run_path(str(RECIPE))
    p = torch.full((2, 10), 1e-12)
    p[0, 3], p[1, 3], p[1, 5] = 1.0, 0.75, 0.25
    found = tools["numbers"](p.log(), torch.tensor([3, 5]))
    assert found["confidence"][0] == pytest.approx(0.875)
    assert found["entropy"][0] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / 2, abs=1e-6)
    assert found["ambiguous"][0] == 0.5
    assert found["recognised"] == [0.5, pytest.approx(0.5)]
    assert found["confusion"][3][3] == found["confusion"][5][3] == 1
    assert tools["confused_pairs"](np.array(found["confusion"]))[0] == {
        "pair": "3/5",
        "rate": 0.5,
        "standard_error": pytest.approx(0.5 / 2**0.5),
    }
