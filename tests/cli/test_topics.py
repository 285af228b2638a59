"""`lowerbound fit words.csv --recipe lda`: topics by their words, from the fit, from evaluate and in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lowerbound.fitted import Fitted

WORDS = ("ice", "snow", "cold", "sun", "heat", "sand", "the")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("words") / "words.csv"
    topics = np.array([[0.3, 0.3, 0.2, 0, 0, 0, 0.2], [0, 0, 0, 0.3, 0.3, 0.2, 0.2]])
    shares = rng.dirichlet([0.1, 0.1], 150)
    rows = np.stack([rng.multinomial(n, row @ topics) for n, row in zip(rng.poisson(20, 150), shares, strict=True)])
    path.write_text("\n".join([",".join(WORDS), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    "recipe", ["lda:topics=2", pytest.param("prodlda:topics=2,hidden=[8]", marks=pytest.mark.slow)]
)
def test_topics_are_told_by_their_words(cli, tmp_path, table, recipe):
    run = tmp_path / "run"
    steps = [] if recipe.startswith("lda") else ["--steps", 30]
    answer = cli("fit", table, "--recipe", recipe, *steps, "--out", run, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "Topics, by their first words" in answer.out
    page = (run / "report.html").read_text()
    assert "Coherence (NPMI)" in page
    scores, fitted = json.loads(cli("evaluate", run, "--json").out), Fitted.open(run)
    kinds = {frozenset({"ice", "snow", "cold"}), frozenset({"sun", "heat", "sand"})}
    assert {frozenset(set(topic["words"][:4]) - {"the"}) for topic in scores["topics"]} == kinds
    assert [list(topic.words) for topic in fitted.topics()] == [topic["words"] for topic in scores["topics"]]
    assert fitted.topics()[0].words[0] in page
    rows = fitted.test_rows().x
    assert scores["num_tokens"] == rows.sum()
    assert scores["perplexity"] == pytest.approx(np.exp(-scores["log_evidence"] * len(rows) / rows.sum()), rel=1e-6)
    assert scores["perplexity"] < np.exp(
        -scores["baselines"]["independent elements"]["log_likelihood"] * len(rows) / rows.sum()
    )
    assert scores["bits_per_dim"] is None


def test_a_model_without_topics_says_so(digits_run):
    with pytest.raises(ValueError, match="has no topics; fit the recipe lda or prodlda"):
        Fitted.open(digits_run).topics()


def test_numbers_that_are_no_counts_are_refused(refused, tmp_path):
    path = tmp_path / "reals.csv"
    path.write_text("a,b\n" + "\n".join(f"{i / 7},{-i}" for i in range(30)) + "\n")
    assert "takes counts 0, 1, 2" in refused("fit", path, "--recipe", "lda", "--out", tmp_path / "run")
