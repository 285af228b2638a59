"""Rows that are taken with a sentence, and dates that are none: on every road."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.data import DataError
from lowerbound.data.cells import is_date
from lowerbound.data.remarks import DataWarning

ROWS = 60


def _people() -> pd.DataFrame:
    g = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": g.normal(40, 9, ROWS).round(1),
            "sex": g.choice(["f", "m"], ROWS),
            "day": pd.date_range("2020-01-01", periods=ROWS).astype(str),
        }
    )


def _without(table: pd.DataFrame, row: int) -> pd.DataFrame:
    kept = np.arange(len(table))[:, None] != row
    return table.where(np.broadcast_to(kept, table.shape))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    _people().to_csv(folder / "people.csv", index=False)
    words = ["--recipe", "latent-classes:components=2", "--no-evaluate", "--out", str(folder / "run")]
    assert main(["fit", str(folder / "people.csv"), *words]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def fitted(run):
    return lb.Fitted.open(run)


OTHERS = {
    "other units": (
        lambda t: t.assign(age=t.age * 365),
        "Column 'age' of {}: 100 % of its values lie outside the range of the fit",
    ),
    "other dates": (
        lambda t: t.assign(day="1999-07-07"),
        "outside the range of the fit, 2020-01-01 to 2020-02-29 (their median is 1999-07-07)",
    ),
    "an empty column": (lambda t: t.assign(age=np.nan), "Column 'age' of {} holds no value"),
    "an empty row": (
        lambda t: _without(t, 3),
        "1 of the 60 rows of {} hold no value (the first is row 3)",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_may_not_be_meant_is_said_on_every_road(cli, run, fitted, tmp_path, what):
    make, told = OTHERS[what]
    table = make(_people())
    table.to_csv(tmp_path / "other.csv", index=False)
    is_warning = what in ("other units", "other dates")
    for verb in (["score", run], ["encode", run], ["impute", run, "--num-samples", 20])[: 3 if is_warning else 2]:
        answer = cli(*verb, "--data", tmp_path / "other.csv", "--out", tmp_path / f"{verb[0]}.csv")
        assert answer.code == 0
        assert told.format("other.csv") in answer.err
        assert answer.err.count(told.format("other.csv")) == 1
    if not is_warning:
        assert told.format("X") in " ".join(fitted.rows(table).notes)
        return
    for ask in (fitted.score, lambda t: fitted.impute(t, num_samples=20), fitted.encode):
        with pytest.warns(DataWarning) as caught:
            ask(table)
        assert any(told.format("X") in str(one.message) for one in caught)


def test_rows_like_those_of_the_fit_and_single_rows_are_taken_in_silence(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.score(_people().tail(20))
        fitted.score(_people().head(1).assign(age=400.0))
        fitted.score(_people().head(1).assign(age=np.nan))
        half = _people().head(10).assign(age=np.repeat([40.0, 4000.0], 5))
        fitted.score(half)


def test_rows_without_values_are_said_at_the_fit(cli, tmp_path):
    table = _without(_people().assign(nothing=np.nan), 5)
    table.to_csv(tmp_path / "gaps.csv", index=False)
    words = ["--recipe", "latent-classes:components=1", "--no-evaluate", "--out", tmp_path / "run"]
    answer = cli("fit", tmp_path / "gaps.csv", *words)
    assert answer.code == 0
    assert "1 of the 60 rows of gaps.csv hold no value (the first is row 5)" in answer.out
    assert "nothing (no values)" in " ".join(answer.out.split())


@pytest.mark.parametrize("strange", ["9999-99-01", "12020-01-01", "2020-02-30", "yesterday"])
def test_what_is_no_date_is_named_with_its_row(cli, run, fitted, tmp_path, strange):
    table = _people()
    table.loc[7, "day"] = strange
    table.to_csv(tmp_path / "other.csv", index=False)
    answer = cli("fit", tmp_path / "other.csv", "--out", tmp_path / "other")
    assert answer.code == 2
    assert answer.err == (
        f"Column 'day' of other.csv holds '{strange}' at row 7 among dates, and it is none; write dates such as "
        "2024-02-29, or nothing where one is missing, or leave the column out with columns 'day=drop'.\n"
    )
    answer = cli("score", run, "--data", tmp_path / "other.csv", "--out", tmp_path / "scores.csv")
    assert answer.code == 2
    assert f"holds '{strange}' at row 7; expected dates such as 2024-02-29, as in training." in answer.err
    with pytest.raises(DataError, match="at row 7 among dates"):
        lb.fit(table)
    with pytest.raises(DataError, match="at row 7; expected dates"):
        fitted.score(table)


def test_days_of_the_calendar_are_dates():
    assert is_date("2024-02-29")
    assert is_date("0001-01-01 23:59")
    assert not is_date("2023-02-29")
    assert not is_date("0000-01-01")
    assert not is_date("2024-02-29 25:00")
