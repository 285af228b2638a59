"""What a user gets wrong around an evaluation is one sentence."""

from __future__ import annotations

import numpy as np

from lowerbound.cli import main


def test_data_that_are_gone_are_one_sentence(tmp_path, capsys):
    rows, run = tmp_path / "rows.npy", tmp_path / "run"
    np.save(rows, np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32))
    small = ["--steps", "2", "--hidden", "4", "--latent-dim", "1", "--device", "cpu", "--no-compile", "--no-evaluate"]
    assert main(["fit", str(rows), "--out", str(run), *small]) == 0
    rows.unlink()
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 2
    said = capsys.readouterr().err
    assert "There is no file" in said
    assert said.count("\n") == 1
