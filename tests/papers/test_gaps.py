"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "papers"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs the image data in the folder LOWERBOUND_DATA")
def test_the_gaps_are_the_differences_of_the_rows(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    words = "--epochs 0.01 --images 3 --distributions 3 --chains 2 --refinement 3 --samples 20 --compared 2"
    monkeypatch.setattr(sys, "argv", ["gaps", *words.split(), "--runs", str(tmp_path / "runs"), "--out", str(out)])
    monkeypatch.syspath_prepend(RECIPES)
    runpy.run_path(str(RECIPES / "gaps.py"), run_name="__main__")
    cells = json.loads(out.read_text())["cells"]
    assert list(cells) == [f"{data} | {q}" for data in ("mnist", "fashion-mnist") for q in ("diagonal-normal", "iaf")]
    for name, cell in cells.items():
        assert set(cell["annealed_from"]) == {"posterior", "prior"}
        for split in ("train", "test"):
            means = cell[split]["means"]
            assert all(-700 < means[row] < -100 for row in ("log p", "L[q*_full]", "L[q*_own]", "L[q*_FFG]", "L[q]"))
            assert means["approximation gap"] == pytest.approx(means["log p"] - means["L[q*_own]"], abs=1e-3)
            assert means["amortisation gap"] == pytest.approx(means["L[q*_own]"] - means["L[q]"], abs=1e-3)
            assert (means["L[q*_own]"] == means["L[q*_FFG]"]) is name.endswith("normal")
            source = cell[split]["log p"]
            assert means["log p"] == pytest.approx(max(source["annealed"], source["L_20"]), abs=1e-3)
            assert len(cell[split]["values"]["L[q]"]) == 3
    assert out.with_suffix(".png").stat().st_size > 1000
