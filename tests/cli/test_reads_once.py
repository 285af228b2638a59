"""A command reads its data once and opens the weights once."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
import safetensors
import safetensors.torch

from lowerbound.data import readers

from .conftest import TINY


@pytest.fixture
def opened(monkeypatch) -> Counter[str]:
    """How often data were read, and weights opened."""
    count: Counter[str] = Counter()

    def counted(module: object, name: str, what: str) -> None:
        plain = getattr(module, name)

        def call(*given: object, **options: object) -> object:
            count[what] += 1
            return plain(*given, **options)

        monkeypatch.setattr(module, name, call)

    counted(readers, "read_contents", "data")
    counted(safetensors, "safe_open", "weights")
    monkeypatch.setattr("lowerbound.verbs.effort._MOST", 3)
    return count


def test_fit_reads_the_data_once_and_the_weights_not_at_all(cli, table, tmp_path, opened):
    words = ["fit", table, "--label", "species", "--steps", 3, "--out", tmp_path / "run", *TINY]
    assert cli(*words).code == 0
    assert (opened["data"], opened["weights"]) == (1, 0)


@pytest.mark.parametrize(
    "words, data",
    [
        (["evaluate", "--num-samples", 3], 1),
        (["report"], 1),
        (["diagnose", "--num-rows", 10], 1),
        (["check", "--num-replicates", 20], 1),
        (["gradients", "--num-repeats", 4], 1),
        (["encode", "--out", "z.npz"], 1),
        (["score", "--out", "s.csv"], 1),
        (["reconstruct", "--out", "r.csv"], 1),
        (["sample", "--out", "x.csv"], 0),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_other_commands_read_once_too(cli, brief_diagnosis, table_run, tmp_path, monkeypatch, opened, words, data):
    run = shutil.copytree(table_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    command, *rest = words
    answer = cli(command, run, *rest)
    assert answer.code == 0, answer.err
    assert opened["data"] == data
    assert 1 <= opened["weights"] <= 2


def test_a_run_that_goes_on_reads_once(cli, table, tmp_path, opened):
    run = tmp_path / "run"
    assert cli("fit", table, "--label", "species", "--steps", 3, "--out", run, "--no-evaluate", *TINY).code == 0
    on = ["--resume", run, "--steps", 5, "--out", tmp_path / "on"]
    for words, weights in ((["--resume", run], 2), (on, 3)):  # its own checkpoint twice, and once that of the other
        opened.clear()
        assert cli("fit", *words, "--no-evaluate").code == 0
        assert (opened["data"], opened["weights"]) == (1, weights)
