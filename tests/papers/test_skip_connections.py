"""The script at toy size, on scikit-learn's digits."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[2] / "papers"


@pytest.mark.slow
def test_it_compares_seed_by_seed(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = (
        "--data digits --steps 4 --layers 2 --width 8 --latent-dim 2 --test-images 30 --evidence-samples 3 --seeds 0 1"
    )
    monkeypatch.setattr(sys, "argv", ["", *words.split(), "--out", str(out), "--runs", str(tmp_path / "runs")])
    monkeypatch.syspath_prepend(str(PAPERS))
    runpy.run_path(str(PAPERS / "skip_connections.py"), run_name="__main__")
    found = json.loads(out.read_text())
    rows = found["models"]
    assert [len(rows[name]) for name in ("plain", "skips")] == [2, 2]
    for name in ("plain", "skips"):
        for row in rows[name]:
            assert -0.1 < row["mutual_information"] <= math.log(30) + 1e-6  # estimated from one draw of each
            assert row["elbo"] <= row["log_evidence"] < 0
    pairs = [skips["elbo"] - plain["elbo"] for skips, plain in zip(rows["skips"], rows["plain"], strict=True)]
    assert found["skips_minus_plain"]["elbo"]["mean"] == pytest.approx(sum(pairs) / 2)
    assert found["skips_minus_plain"]["elbo"]["standard_error"] == pytest.approx(abs(pairs[0] - pairs[1]) / 2)
    assert out.with_suffix(".png").stat().st_size > 1000
