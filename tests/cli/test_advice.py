"""What a fit below a baseline names as the command to try next is a command that wins."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest


def advised(out: str) -> list[str]:
    """The words after "lowerbound" of the command between backticks."""
    found = re.search(r"below a baseline.*?`lowerbound (.*?)`", " ".join(out.split()))
    assert found is not None, out
    return shlex.split(found[1])


@pytest.mark.slow
def test_columns_on_few_values_are_to_be_ordinal(cli, tmp_path) -> None:
    g = np.random.default_rng(0)
    x = g.normal(size=(120, 1)) + 0.5 * g.normal(size=(120, 2))
    np.save(tmp_path / "x.npy", (2 * x).round().clip(-4, 4) / 2)
    small = ["--recipe", "vae", "--steps", "3", "--hidden", "4", "--latent-dim", "2"]
    first = cli("fit", tmp_path / "x.npy", *small, "--out", tmp_path / "first")
    assert first.code == 0
    words = advised(first.out)
    assert words == ["fit", str(tmp_path / "x.npy"), "--columns", "0=ordinal,1=ordinal"]
    second = cli(*words, "--out", tmp_path / "second")
    assert second.code == 0
    assert "recipe latent-classes" in second.out
    assert "below a baseline" not in second.out
