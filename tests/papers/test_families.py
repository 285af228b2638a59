"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "families_mnist.py"
TOY = "--epochs 1 --train-images 300 --test-images 6 --evidence-samples 20"
REFERENCE, PLANAR, REFUSED = (
    f"{pair} | seed 0"
    for pair in (
        "diagonal-normal | standard-normal",
        "planar:layers=10 | standard-normal",
        "auxiliary-normal | vamp-prior:components=20",
    )
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA"),
]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Run one cell; return what the file then holds."""

    def run(only, *words):
        out = tmp_path / "result.json"
        monkeypatch.setattr(sys, "argv", [str(RECIPE), *TOY.split(), "--only", only, *words, "--out", str(out)])
        monkeypatch.syspath_prepend(RECIPE.parent)
        runpy.run_path(str(RECIPE), run_name="__main__")
        return json.loads(out.read_text())["cells"], out

    return run


def test_cells_are_scored_against_the_first_on_the_same_images(recipe):
    recipe(REFERENCE)
    cells, out = recipe(PLANAR)
    assert list(cells) == [REFERENCE, PLANAR]
    assert all(100 < cell["negative_log_likelihood"] <= cell["negative_elbo"] < 600 for cell in cells.values())
    values = np.load(out.with_suffix(".npz"))
    gain = values[f"{PLANAR} | log_evidence"] - values[f"{REFERENCE} | log_evidence"]
    assert cells[PLANAR]["gain_over_reference"] == pytest.approx(gain.mean(), abs=1e-4)
    assert cells[PLANAR]["gain_over_reference_error"] == pytest.approx(gain.std(ddof=1) / 6**0.5, rel=1e-4)
    assert cells[PLANAR]["gain_over_reference"] == pytest.approx(
        cells[REFERENCE]["negative_log_likelihood"] - cells[PLANAR]["negative_log_likelihood"], abs=1e-3
    )
    assert cells[PLANAR]["gain_over_reference_error"] < cells[PLANAR]["standard_error_over_images"]


def test_a_cell_is_run_once_for_each_budget(recipe, capsys):
    first, _ = recipe(REFERENCE)
    capsys.readouterr()
    again, _ = recipe(REFERENCE)
    assert f"{REFERENCE} …" not in capsys.readouterr().out
    assert again == first
    other, _ = recipe(REFERENCE, "--evidence-samples", "10")
    assert f"{REFERENCE} …" in capsys.readouterr().out
    assert other[REFERENCE]["num_samples"] == 10


def test_a_refusal_and_a_cell_that_takes_too_long_are_results_too(recipe):
    recipe(REFUSED)
    cells, _ = recipe(PLANAR, "--longest", "0")
    assert "AuxiliaryNormalDistribution has none for z alone" in cells[REFUSED]["refused"]
    assert "minutes on one thread" in cells[PLANAR]["left_out"]
