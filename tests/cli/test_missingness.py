"""`fit --missingness` and what other verbs do with such a run, and the same in Python and as an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.runs import Run
from lowerbound.verbs.model_card import model_card

ROWS, SMALL = 400, {"latent_dim": 1, "hidden": [16], "steps": 200, "lr": 0.01}
WORDS = ["--latent-dim", "1", "--hidden", "16", "--steps", "200", "--lr", "0.01"]


def _people() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Large incomes are hidden, and one of two answers is."""
    g = np.random.default_rng(0)
    z = g.normal(size=ROWS)
    whole = pd.DataFrame(
        {
            "income": z + 0.5 * g.normal(size=ROWS),
            "rent": z + 0.5 * g.normal(size=ROWS),
            "answer": np.where(g.random(ROWS) < 1 / (1 + np.exp(-2 * z)), "yes", "no"),
            "visits": g.poisson(2, ROWS),
        }
    )
    table = whole.astype({"visits": "Int64"})
    table.loc[g.random(ROWS) < 1 / (1 + np.exp(-2.5 * whole.income)), "income"] = np.nan
    table.loc[g.random(ROWS) < np.where(whole.answer == "yes", 0.5, 0.05), "answer"] = None
    return whole, table


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    path = tmp_path_factory.mktemp("people") / "people.csv"
    _people()[1].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(people):
    out = people.parent / "run"
    assert main(["fit", str(people), "--missingness", "self-masking", *WORDS, "--no-evaluate", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def fitted(run):
    return lb.Fitted.open(run)


def test_the_choice_is_printed_saved_and_cited(cli, run):
    answer = cli("cite", run)
    assert "missingness self-masking: Ipsen et al., 2021" in answer.out
    plan = Run.open(run).plan
    assert plan.model["missingness"] == "self-masking"
    assert plan.model["likelihood"].startswith("mixed:")
    assert "missingness, " in plan.reasons["recipe"]


def test_what_is_hidden_is_found_where_ignoring_gaps_is_biased(fitted, people):
    whole, table = _people()
    hidden = table.income.isna()
    ignored = lb.fit(people, "vae", **SMALL)
    bias = {
        name: float((each.impute(table, num_samples=200).income - whole.income)[hidden].mean())
        for name, each in (("modelled", fitted), ("ignored", ignored))
    }
    assert abs(bias["modelled"]) < 0.5 * abs(bias["ignored"])
    assert bias["ignored"] < -0.3
    right = {
        name: float((each.impute(table, num_samples=200).answer == whole.answer)[table.answer.isna()].mean())
        for name, each in (("modelled", fitted), ("ignored", ignored))
    }
    assert right["modelled"] > right["ignored"] + 0.05


def test_every_verb_of_tables_works(cli, run, people, tmp_path):
    for words in (
        ["impute", run, "--num-samples", 100, "--out", tmp_path / "filled.csv"],
        ["impute", run, "--draws", 2, "--out", tmp_path / "copies.csv"],
        ["score", run, "--num-samples", 50, "--out", tmp_path / "scores.csv"],
        ["score", run, "--data", people, "--cells", "--num-samples", 50, "--out", tmp_path / "cells.csv"],
        ["sample", run, "--count", 20, "--out", tmp_path / "made.csv"],
        ["sample", run, "--given", "answer=yes", "--count", 20, "--out", tmp_path / "given.csv"],
        ["encode", run, "--out", tmp_path / "codes.csv"],
        ["evaluate", run, "--num-samples", 50],
    ):
        answer = cli(*words)
        assert answer.code == 0, answer.err
    assert pd.read_csv(tmp_path / "filled.csv").notna().all().all()
    assert pd.read_csv(tmp_path / "made.csv").notna().all().all()
    assert pd.read_csv(tmp_path / "given.csv").answer.eq("yes").all()


def test_scores_of_values_and_gaps_are_called_so(cli, run, fitted, people, tmp_path):
    """The command, its JSON, the report, the card and `score`; and they are not compared with scores of values."""
    table, scores = cli("evaluate", run, "--num-samples", 20).out, fitted.evaluate(num_samples=20)
    page, card = fitted.report(tmp_path / "report.html").read_text(), model_card(lb.Fitted.open(run), "me/people")
    told = cli("score", run, "--num-samples", 20, "--out", tmp_path / "rows.csv").out
    assert scores["of_gaps"] is True
    for text in (table, page, card, told):
        assert "log p(x_obs, s)" in text
        assert "log p(x)" not in text
        assert "s says which are missing" in text
    assert "Predictive checks" not in page
    alone = lb.fit(people, "vae", **{**SMALL, "steps": 1}).save(tmp_path / "alone")
    assert "of_gaps" not in lb.Fitted.open(alone).evaluate(num_samples=20)
    answer = cli("compare", run, alone, "--num-samples", 20)
    assert answer.code == 2
    assert "of values and of which are missing; compare runs of like units" in " ".join(answer.err.split())


def test_scores_are_of_values_and_gaps(fitted):
    """A row whose gap is one that values of its kind have, and one whose gap is not."""
    rows = pd.DataFrame({"income": [np.nan] * 2, "rent": [2.0, -2.0], "answer": ["yes"] * 2, "visits": [2, 2]})
    likely, unlikely = fitted.score(rows)
    alone = fitted.score(rows[["income", "rent", "answer", "visits"]].assign(income=[1.8, -1.8]))
    assert likely - unlikely > 1
    assert np.isfinite(alone).all()


def test_the_estimator_fits_the_same_model():
    _, table = _people()
    vae = lb.VAE(1, hidden=[16], missingness="self-masking", epochs=2, random_state=0).fit(table)
    likelihood: Any = vae.model_.likelihood
    assert type(likelihood.missingness).__name__ == "SelfMasking"
    assert vae.plan_.model["missingness"] == "self-masking"


def test_predictive_checks_are_refused(cli, run):
    answer = cli("check", run)
    assert answer.code == 2
    assert "models which entries are missing" in answer.err


@pytest.mark.parametrize(
    "words, told",
    [
        (["--missingness", "self-maskin"], "There is no missingness named 'self-maskin'; choose one of self-masking."),
        (["--missingness", "self-masking", "--recipe", "latent-classes"], "has no option 'missingness'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(cli, people, tmp_path, words, told):
    answer = cli("fit", people, *words, "--out", tmp_path / "run")
    assert answer.code == 2
    assert told in answer.err
    assert "Traceback" not in answer.err


def test_tables_without_gaps_are_refused(cli, tmp_path):
    whole, _ = _people()
    whole.to_csv(tmp_path / "whole.csv", index=False)
    answer = cli("fit", tmp_path / "whole.csv", "--missingness", "self-masking", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "has no column with gaps; leave missingness out." in answer.err


def test_a_likelihood_without_gaps_is_refused():
    with pytest.raises(ValueError, match="missingness is for tables with gaps under the likelihood mixed"):
        lb.models.vae((3,), likelihood="normal", missingness="self-masking")
