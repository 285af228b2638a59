"""`lowerbound check`: the numbers of `Fitted.predictive_checks`, in words and as JSON."""

from __future__ import annotations

import json

import pytest

import lowerbound as lb


@pytest.fixture(scope="module")
def found(table_run):
    return lb.Fitted.open(table_run).predictive_checks(num_replicates=30)


def test_words_name_the_farthest_statistics_and_columns(cli, table_run, found):
    answer = cli("check", table_run, "--num-replicates", 30)
    assert (answer.code, answer.err) == (0, "")
    assert "12 test rows of flowers.csv against 30 data sets made" in answer.out
    name, one = found.farthest[0]
    assert name in answer.out
    assert f"{one.observed:.4g}" in answer.out
    words = " ".join(answer.out.split())
    assert f"{found.outside} of {len(found.checks)} statistics have p ≤ 0.05" in words
    assert "Each column: Too few ranks to say." in words
    assert "Each column given the others: Too few ranks to say." in words


def test_json_has_every_statistic(cli, table_run, found):
    content = json.loads(cli("check", table_run, "--num-replicates", 30, "--json").out)
    assert content["num_rows"] == 12
    assert {name: one["p_value"] for name, one in content["statistics"].items()} == {
        name: pytest.approx(check.p_value) for name, check in found.checks.items()
    }
    assert content["coverage"]["0.8"] == pytest.approx(found.coverage().values[1].item())
    assert content["dispersion"] == pytest.approx(found.dispersion.mean().item())


def test_refusals(refused, table_run):
    assert "x>=2" in refused("check", table_run, "--limit", 1)
    assert "is not a run folder" in refused("check", table_run.parent / "none")
