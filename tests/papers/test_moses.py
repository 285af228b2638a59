"""The script at toy size, on molecules under the names of the files of MOSES; and resumed."""

from __future__ import annotations

import gzip
import json
import runpy
import sys
from pathlib import Path

import pytest
from some_molecules import SMILES

SCRIPT = Path(__file__).parents[2] / "papers" / "moses.py"
WORDS = (
    "--molecules 60 --test 20 --compared 20 --steps 3 --latent-dim 2 --embedding-dim 4 --width 4 --evidence-samples 3 "
    "--samples 10"
)


@pytest.mark.slow
def test_it_fits_and_scores_every_model_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "result.json"
    data.mkdir()
    for part in ("train", "test"):
        (data / f"moses_zinc_{part}.smi.txt.gz").write_bytes(gzip.compress("\n".join(SMILES * 3).encode()))
    monkeypatch.setenv("LOWERBOUND_DATA", str(data))
    words = [str(SCRIPT), *WORDS.split(), "--out", str(out), "--runs", str(tmp_path / "runs"), "--models"]
    for models in (["warm-up", "fragments alone"], ["fragments alone", "tree and graph", "atoms", "characters"]):
        monkeypatch.setattr(sys, "argv", [*words, *models])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    found = json.loads(out.read_text())["models"]
    assert json.loads(out.read_text())["training_molecules"]["snn"] == 1.0
    assert found["tree and graph"]["rate_tree"] + found["tree and graph"]["rate_graph"] > 0
    assert set(found) == {"warm-up", "fragments alone", "tree and graph", "atoms", "characters"}
    for name, row in found.items():
        assert row["num_test"] == 20
        assert row["log_evidence"] < -3
        if name != "characters":
            assert (row["valid"], row["outside"]) == (1.0, 0.0)
