"""The benchmark of the demo at toy size."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "demo.py"


@pytest.mark.slow
def test_seeds_are_saved_once_with_their_margin(tmp_path, monkeypatch):
    out = tmp_path / "demo.json"
    monkeypatch.syspath_prepend(BENCHMARK.parent)

    def run(*seeds):
        words = ["--steps", "3", "--samples", "5", "--out", str(out), "--seeds", *seeds]
        monkeypatch.setattr(sys, "argv", [str(BENCHMARK), *words])
        runpy.run_path(str(BENCHMARK), run_name="__main__")
        return json.loads(out.read_text())

    first = run("0")
    result = run("0", "1")
    assert result["seeds"]["0"] == first["seeds"]["0"]
    margins = [seed["margin"] for seed in result["seeds"].values()]
    for seed in result["seeds"].values():
        assert seed["margin"] == pytest.approx(seed["log_evidence"] - seed["log_likelihood_of_mixture"], abs=1e-4)
        assert seed["plan"]["steps"] == 3
    assert result["margin"] == pytest.approx(sum(margins) / 2)
    assert result["standard_error_over_seeds"] == pytest.approx(abs(margins[0] - margins[1]) / 2)
