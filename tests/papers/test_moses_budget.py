"""The script at toy size, on molecules under the names of the files of MOSES; and what is fitted is scored as it is."""

from __future__ import annotations

import gzip
import json
import runpy
import sys
from pathlib import Path

import pytest
from some_molecules import SMILES

SCRIPT = Path(__file__).parents[2] / "papers" / "moses_budget.py"
WORDS = (
    "--molecules 60 --test 20 --latent-dim 2 --embedding-dim 4 --width 4 --batch-size 16 --evidence-samples 3 "
    "--cpu-seconds 0.2 --samples 10 20 --whole 12"
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Left out. 1 .*of zinc")
def test_it_fits_within_seconds_and_scores_in_each_protocol(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "result.json"
    data.mkdir()
    for part in ("train", "test", "test_scaffolds"):
        (data / f"moses_zinc_{part}.smi.txt.gz").write_bytes(gzip.compress("\n".join(SMILES * 3).encode()))
    (data / "zinc250k_jtnn_test.smi.txt.gz").write_bytes(gzip.compress("\n".join(["C" * 60, *SMILES]).encode()))
    monkeypatch.setenv("LOWERBOUND_DATA", str(data))
    monkeypatch.syspath_prepend(SCRIPT.parent)
    words = [str(SCRIPT), *WORDS.split(), "--out", str(out), "--runs", str(tmp_path / "runs"), "--models"]
    for more in (["fragments", "--only-fit"], ["fragments", "characters", "--ceiling", "--zinc"]):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    found = json.loads(out.read_text())
    protocols = {"10 of 20", "12 of all, test", "12 of all, test_scaffolds"}
    assert set(found) == {"training molecules", "protocol", "fragments", "characters"}
    assert set(found["training molecules"]) == protocols
    assert found["training molecules"]["12 of all, test"]["snn"] == 1.0
    for name in ("fragments", "characters"):
        row = found[name]
        assert protocols <= set(row)
        assert row["L_3"] >= row["elbo"] - 0.5
        assert 0 < row["cpu_seconds_of_fit"] < 20
        assert 0 <= row["reconstruction_by_a_draw"] <= row["reconstruction_in_10"] <= 1
    assert found["fragments"]["10 of 20"]["valid"] == 1.0
    assert found["fragments"]["reconstruction_of_zinc_test"].items() >= {"molecules": 20, "too_large": 1}.items()
