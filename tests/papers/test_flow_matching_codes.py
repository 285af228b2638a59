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
    words = "--data digits --steps 30 --fit-images 600 --test-images 50 --max-epochs 2 --seeds 2 --components 2 4"
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
    monkeypatch.syspath_prepend(RECIPE.parent)
    runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())["digits"]
    rows = [result["priors"][name] for name in ("flow-prior:kind=affine", "flow-matching")]
    gains = [matching["log_prior"] - affine["log_prior"] for affine, matching in zip(*rows, strict=True)]
    assert [gain for gain, _ in result["gain_of_seeds"]] == pytest.approx(gains, abs=1e-5)
    assert result["gain"][0] == pytest.approx(sum(gains) / 2, abs=1e-5)
    assert gains[0] != gains[1]
    assert abs(rows[1][0]["change_with_four_times_the_steps"]) < 1e-2
    of_each = result["mixture"]["held_out_of_each"]
    assert of_each[str(result["mixture"]["components"])] == max(of_each.values())
