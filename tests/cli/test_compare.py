"""`lowerbound compare`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import shutil

import pytest

from lowerbound.cli import main

from .conftest import TINY


@pytest.fixture(scope="module")
def two(digits_run, tmp_path_factory):
    """Two runs on the digits that differ in their latents."""
    folder = tmp_path_factory.mktemp("two")
    words = ["fit", "digits", "--steps", "20", "--out", str(folder / "b"), "--no-evaluate", *TINY, "--latent-dim", "3"]
    assert main(words) == 0
    return shutil.copytree(digits_run, folder / "a"), folder / "b"


FEW = ("--num-samples", 4, "--limit", 50)


def test_table_and_page(cli, two):
    answer = cli("compare", *two, *FEW)
    assert (answer.code, answer.err) == (0, "")
    assert "L_4 of 50 test rows of digits, probabilities of pixels made 0 or 1 (dynamic)" in answer.out
    assert "model.latent_dim" in answer.out
    assert f"Page: {two[0] / 'comparison.html'}" in answer.out
    assert (two[0] / "comparison.html").read_text().count("<img") == 2


def test_json_says_what_the_table_says(cli, two, tmp_path):
    page = tmp_path / "page.html"
    found = json.loads(cli("compare", *two, *FEW, "--json", "--out", page).out)
    assert page.exists()
    by_run = {run["run"]: run for run in found["runs"]}
    best = by_run.pop(found["best"])
    (other,) = by_run.values()
    gap = other["log_evidence"] - best["log_evidence"]
    assert other["difference"]["mean"] == pytest.approx(gap)
    assert gap < 0
    assert 0 < other["difference"]["standard_error"] < best["log_evidence_standard_error"]
    assert found["settings"]["model.latent_dim"] == dict(zip(map(str, two), [2, 3], strict=True))


def test_refusals(refused, two, table_run, tmp_path):
    assert "needs at least two" in refused("compare", two[0])
    assert "twice" in refused("compare", two[0], two[0])
    assert "is of other data (table.csv)" in refused("compare", two[0], table_run).replace("flowers", "table")
    assert "is not a run folder" in refused("compare", two[0], tmp_path)
    assert "must end in .html" in refused("compare", *two, "--out", "page.txt")
    (tmp_path / "mine.html").write_text("mine")
    assert "overwrite it with --force" in refused("compare", *two, *FEW, "--out", tmp_path / "mine.html")
    assert "a run reads or holds" in refused("compare", *two, *FEW, "--out", two[1] / "report.html", "--force")
    assert (tmp_path / "mine.html").read_text() == "mine"
    for place in (two[0] / "page.html", two[1] / "page.html", two[1] / "inside" / "page.html"):
        assert "a run reads or holds" in refused("compare", *two, *FEW, "--out", place)
