"""The recipe at toy size, on real data where it is at hand."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "papers" / "vamp_frey_faces.py"


@pytest.mark.skipif("LOWERBOUND_DATA" not in os.environ, reason="needs frey_faces.npz in the folder LOWERBOUND_DATA")
def test_both_priors_are_scored_on_the_same_splits_each_once(tmp_path, monkeypatch, capsys):
    out = tmp_path / "result.json"

    def run(words):
        monkeypatch.setattr(sys, "argv", [str(RECIPE), *words.split(), "--out", str(out)])
        runpy.run_path(str(RECIPE), run_name="__main__")
        return json.loads(out.read_text()), capsys.readouterr().out

    toy = "--epochs 2 --components 12 --evidence-samples 20"
    alone, _ = run(f"{toy} --splits 1")
    result, printed = run(f"{toy} --splits 2")
    first, second = result["splits"]
    assert [first] == alone["splits"]
    assert "split 0" not in printed
    assert "split 1" in printed
    assert [first["seed"], second["seed"]] == [0, 1]
    for split in (first, second):
        standard, vamp = split["standard-normal"], split["vamp-prior"]
        assert all(4 < run["bits_per_dim"] <= run["elbo_bits_per_dim"] < 12 for run in (standard, vamp))
        assert split["gain_bits_per_dim"] == pytest.approx(standard["bits_per_dim"] - vamp["bits_per_dim"], abs=1e-4)
        assert split["gain_standard_error_over_faces"] < standard["standard_error_over_faces"]
    means = result["bits_per_dim"]
    assert means["gain"]["mean"] == pytest.approx((first["gain_bits_per_dim"] + second["gain_bits_per_dim"]) / 2)


def test_the_gated_perceptron_multiplies_by_a_sigmoid():
    net = runpy.run_path(str(RECIPE))["GatedMLP"]((2, 3), (4,), (2, 5))
    x = torch.randn(7, 2, 3)
    first, _, last = net.layers
    value, gate = first(x.flatten(1)).split(4, dim=-1)
    expected = last(value * torch.sigmoid(gate)).unflatten(-1, (2, 5))
    torch.testing.assert_close(net(x), expected)
    assert net.output_bias.shape == (2, 5)
