"""The recipe at toy size."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "papers" / "prior_after_training.py"
needs_mnist = pytest.mark.skipif(
    "LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA"
)


@pytest.mark.parametrize("data", ["digits", pytest.param("mnist", marks=needs_mnist)])
def test_only_the_prior_changes(data, tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = f"--data {data} --shorten 200 --fit-images 600 --test-images 20 --evidence-samples 10"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
    monkeypatch.syspath_prepend(RECIPE.parent)
    runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())[data]
    assert list(result["priors"]) == ["mixture-normal", "flow-prior:kind=affine", "flow-prior", "vamp-prior"]
    before = {row["before"] for row in result["priors"].values()}
    assert len(before) == 1, "every prior is set against the standard normal, not against the one before it"
    for row in result["priors"].values():
        assert row["gain"] == pytest.approx(row["after"] - row["before"], abs=1e-6)
        assert row["test_bound_gain"] == pytest.approx(row["gain"], abs=6 * (row["gain_error"] + 0.5))
    assert out.with_name(f"result_{data}.png").stat().st_size > 1000
