"""The script at toy size, on sentences made here under the names of the files of the Penn Treebank; and resumed."""

from __future__ import annotations

import gzip
import json
import random
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "papers" / "penn_treebank.py"
WORDS = "--sentences 60 --test 8 --steps 3 --latent-dim 2 --embedding-dim 4 --width 4 --evidence-samples 3"


@pytest.mark.slow
def test_it_fits_and_scores_every_model_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    rng, data = random.Random(0), tmp_path / "data"
    data.mkdir()
    for part in ("train", "test"):
        lines = [" ".join(rng.choices(["the", "N", "<unk>", "said", "of"], k=rng.randint(1, 5))) for _ in range(80)]
        (data / f"ptb.{part}.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.setenv("LOWERBOUND_DATA", str(data))
    out = tmp_path / "result.json"
    words = [str(SCRIPT), *WORDS.split(), "--out", str(out), "--runs", str(tmp_path / "runs"), "--models"]
    for models in (["language model", "free bits"], ["language model", "convolution"]):
        monkeypatch.setattr(sys, "argv", [*words, *models])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    found = json.loads(out.read_text())["models"]
    assert set(found) == {"language model", "free bits", "convolution"}
    for name, row in found.items():
        assert (row["num_sentences"], row["num_symbols"]) == (8, 6)
        assert -30 < row["log_evidence"] < -3
        assert (row["rate"] == 0) == (name == "language model")
