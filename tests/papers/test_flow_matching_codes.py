"""The recipe at toy size."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "papers" / "flow_matching_codes.py"


def test_both_priors_are_compared_on_the_same_codes(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--data digits --steps 30 --fit-images 600 --test-images 50 --max-epochs 2"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
    monkeypatch.syspath_prepend(RECIPE.parent)
    runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())["digits"]
    affine, matching = (result["priors"][name]["log_prior"] for name in ("flow-prior:kind=affine", "flow-matching"))
    assert result["flow_matching_minus_affine"] == pytest.approx(matching - affine, abs=1e-5)
    assert abs(result["priors"]["flow-matching"]["change_with_four_times_the_steps"]) < 1e-2
