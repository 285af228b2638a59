"""Two scripts of binary latents at toy size, on scikit-learn's digits."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[2] / "papers"

pytestmark = pytest.mark.slow


def result_of(script, words, tmp_path, monkeypatch, key="seeds"):
    out = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["", *f"--data digits --seeds 1 {words}".split(), "--out", str(out)])
    monkeypatch.syspath_prepend(str(PAPERS))
    runpy.run_path(str(PAPERS / script), run_name="__main__")
    return json.loads(out.read_text())[key][-1]


def test_a_boltzmann_machine_is_compared_with_independent_bits(tmp_path, monkeypatch):
    words = "--steps 20 --test-images 30 --evidence-samples 5"
    found = result_of("dvae_mnist.py", words, tmp_path, monkeypatch)
    apart = found["rbm"]["log_evidence"] - found["bernoulli"]["log_evidence"]
    assert found["rbm_minus_bernoulli"]["gain"] == pytest.approx(apart, abs=1e-6)
    assert found["rbm_minus_bernoulli"]["standard_error"] >= found["rbm"]["log_partition_error"] > 0


def test_layers_are_scored_as_discrete_models_and_compared(tmp_path, monkeypatch):
    words = "--steps 1 3 --test-images 30 --evidence-samples 5"
    found = result_of("discrete_layers.py", words, tmp_path, monkeypatch, "runs")
    assert (found["seed"], found["steps"], found["lr"]) == (0, 3, 2e-3)
    losses = {name: row["negative_log_likelihood"] for name, row in found["cells"].items()}
    gain = found["gains"]["vimco 2 − concrete 2"]["mean"]
    assert gain == pytest.approx(losses["concrete 2"] - losses["vimco 2"], abs=1e-6)
    assert len(set(losses.values())) == 4
