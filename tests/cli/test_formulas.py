"""Text of the user's own that a spreadsheet would run is told when it is exported."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from .conftest import TINY


@pytest.fixture
def run(cli, tmp_path):
    """A run on a table with a category and a class that begin as formulas do, and a negative number as text."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.normal(size=60), "b": ["=1+1", "x", "-2"] * 20, "label": ["@y", "z"] * 30})
    frame.to_csv(tmp_path / "x.csv", index=False)
    words = ["--label", "label", "--recipe", "vae", "--steps", 1, "--no-evaluate", "--out", tmp_path / "run"]
    assert cli("fit", tmp_path / "x.csv", *words, *TINY).code == 0
    return tmp_path / "run"


def test_exported_formulas_are_told_and_left_as_they_are(cli, run, tmp_path):
    answer = cli("sample", run, "--count", 200, "--out", tmp_path / "s.csv")
    assert answer.code == 0
    assert "holds text that a spreadsheet takes for a formula ('=1+1')" in answer.err
    assert set(pandas.read_csv(tmp_path / "s.csv")["b"]) == {"=1+1", "x", "-2"}
    answer = cli("encode", run, "--out", tmp_path / "z.csv")
    assert "a formula ('@y')" in answer.err
    assert cli("encode", run, "--out", tmp_path / "z.npz").err == ""
    assert "An .npz file takes numbers alone" in cli("sample", run, "--count", 2, "--out", tmp_path / "s.npz").err


def test_tables_of_numbers_are_not_warned_of(cli, table_run, tmp_path):
    assert cli("sample", table_run, "--count", 20, "--out", tmp_path / "s.csv").err == ""
