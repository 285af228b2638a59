"""The script at toy size."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "papers" / "modalities_mnist.py"
WORDS = "--seeds 0 1 --steps 20 --pairs 500 --test 20 --coherent 100 --evidence-samples 5"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA")
def test_it_scores_every_mixture_of_experts(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *WORDS.split(), "--out", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = json.loads(out.read_text())
    assert set(found["means"]) == {"product", "mixture", "mixture-of-products"}
    for experts, seeds in found["seeds"].items():
        for run in seeds.values():
            difference = run["log_p"][0] - run["log_p_given"][0]
            assert run["log_p_others_given"][0] == pytest.approx(difference, abs=1e-3)
        ahead = [run["log_p"][0] for run in found["seeds"]["product"].values()]
        own = [run["log_p"][0] for run in seeds.values()]
        mean = sum(a - b for a, b in zip(ahead, own, strict=True)) / 2
        assert found["means"][experts]["product_ahead"][0] == pytest.approx(mean, abs=1e-3)
