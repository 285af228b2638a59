"""`compress` and `decompress` on a file of counts."""

from __future__ import annotations

import numpy as np
import pytest

from lowerbound.cli import main


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """A file of counts and a run on it."""
    folder = tmp_path_factory.mktemp("counts")
    np.save(folder / "x.npy", np.random.default_rng(0).poisson([2, 0.5, 40], (80, 3)))
    words = ["--steps", "3", "--hidden", "4", "--latent-dim", "2", "--device", "cpu", "--no-evaluate"]
    assert main(["fit", str(folder / "x.npy"), *words, "--out", str(folder / "run")]) == 0
    return folder


def test_a_file_and_back(cli, refused, counts, tmp_path):
    out, back = tmp_path / "x.lb", tmp_path / "back.npy"
    answer = cli("compress", counts / "run", counts / "x.npy", "--out", out)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, f"Wrote 80 rows to {out}")
    assert "-ELBO" in answer.out
    assert "lzma" in answer.out
    assert cli("decompress", counts / "run", out, "--out", back).code == 0
    assert np.array_equal(np.load(back), np.load(counts / "x.npy"))
    assert "--force" in refused("compress", counts / "run", counts / "x.npy", "--out", out)
    out.write_bytes(out.read_bytes()[:-40])
    assert "damaged" in refused("decompress", counts / "run", out, "--out", back, "--force")
