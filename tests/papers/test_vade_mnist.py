"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "vade_mnist.py"


@pytest.mark.slow
@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs mnist.npz in the folder LOWERBOUND_DATA")
def test_seeds_are_run_once_and_reported_together(tmp_path, monkeypatch, capsys):
    out = tmp_path / "result.json"
    toy = "--images 300 --hidden 40 --pretrain-epochs 3 --epochs 2 --batch-size 50 --spectral-images 150"

    def run(seeds):
        words = f"{toy} --seeds {seeds} --parts {tmp_path / 'parts'} --out {out}"
        monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split()])
        runpy.run_path(str(RECIPE), run_name="__main__")
        return json.loads(out.read_text()), capsys.readouterr().out

    alone, _ = run("0")
    result, printed = run("0 1")
    assert "seed 0" not in printed
    assert "seed 1" in printed
    assert [seed["seed"] for seed in result["seeds"]] == [0, 1]
    assert alone["seeds"] == result["seeds"][:1]
    assert set(result["table"]) == {"AE + mixture", "VaDE", "k-means", "mixture", "spectral"}
    for name, line in result["table"].items():
        each = [seed["scores"][name]["accuracy"] for seed in result["seeds"]]
        assert line["accuracy"]["median"] == pytest.approx(sum(each) / 2)
        assert line["accuracy"]["range"] == sorted(each)
        assert all(0.15 < value < 0.9 for value in each)
    for seed in result["seeds"]:
        confusion = np.array(seed["confusion"])
        assert confusion.sum() == 300
        assert seed["scores"]["VaDE"]["accuracy"] >= confusion.max(1).sum() / 300 - 0.3
        assert [point["epoch"] for point in seed["curve"]] == [1, 2]
    assert out.with_suffix(".png").stat().st_size > 10_000
