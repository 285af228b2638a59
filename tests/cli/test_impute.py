"""`impute`, `score` and `sample --given` on a file with gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lowerbound.cli import main
from lowerbound.cli.options import values_of
from lowerbound.runs import Run

ROWS = 80


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    g = np.random.default_rng(0)
    group = g.integers(2, size=ROWS)
    frame = pd.DataFrame(
        {
            "id": [f"p{i:03d}" for i in range(ROWS)],
            "sex": np.array(["female", "male"])[group],
            "height": (np.where(group == 0, 160, 180) + g.normal(0, 2, ROWS)).round(1),
            "visits": g.poisson(np.where(group == 0, 2, 15)),
        }
    ).astype({"visits": "Int64"})
    for column, every in (("sex", 9), ("height", 7), ("visits", 11)):
        frame.loc[::every, column] = None
    path = tmp_path_factory.mktemp("people") / "people.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(people):
    out = people.parent / "run"
    words = ["--recipe", "latent-classes:components=2", "--no-evaluate"]
    assert main(["fit", str(people), *words, "--out", str(out)]) == 0
    return out


def test_impute_writes_the_file_without_its_gaps(cli, run, people, tmp_path):
    out = tmp_path / "filled.csv"
    answer = cli("impute", run, "--out", out)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, f"Wrote {ROWS} rows to {out}")
    before, after = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (people, out))
    assert list(before.columns) == list(after.columns)
    known = before != ""
    assert (after == before)[known].to_numpy()[known.to_numpy()].all()
    assert (after != "").all().all()
    assert after["visits"].str.fullmatch(r"\d+").all()


def test_draws_stand_below_one_another(cli, run, people, tmp_path):
    out = tmp_path / "copies.parquet"
    assert cli("impute", run, "--data", people, "--draws", 3, "--out", out).code == 0
    copies = pd.read_parquet(out)
    assert copies["imputation"].tolist() == [0] * ROWS + [1] * ROWS + [2] * ROWS
    heights = copies["height"].to_numpy().reshape(3, ROWS)
    gap = pd.read_csv(people)["height"].isna().to_numpy()
    assert (heights[:, gap].std(0) > 0).all()
    assert (np.ptp(heights[:, ~gap], 0) == 0).all()


@pytest.mark.parametrize(
    "names", [[f"row {i}" for i in range(ROWS)], list(range(ROWS // 2)) * 2], ids=["text", "twice"]
)
def test_the_index_of_the_rows_comes_back(cli, run, people, tmp_path, names):
    """Without a name in a .csv file, as R writes the names of rows, and as the index of a .parquet file."""
    frame = pd.read_csv(people).set_axis(names)
    for suffix in ("csv", "parquet"):
        given, out = tmp_path / f"named.{suffix}", tmp_path / f"filled.{suffix}"
        frame.to_csv(given) if suffix == "csv" else frame.to_parquet(given)
        assert cli("impute", run, "--data", given, "--out", out).code == 0
        filled = pd.read_csv(out, index_col=0) if suffix == "csv" else pd.read_parquet(out)
        assert filled.index.tolist() == names
        assert filled.columns.tolist() == frame.columns.tolist()
        assert cli("impute", run, "--data", given, "--draws", 2, "--out", out, "--force").code == 0
        copies = pd.read_csv(out, index_col=0) if suffix == "csv" else pd.read_parquet(out)
        assert copies.index.tolist() == names * 2


def test_draws_of_a_table_with_a_column_of_that_name_and_of_numbers_alone(cli, refused, run, people, tmp_path):
    named, out = tmp_path / "named.csv", tmp_path / "copies.npz"
    pd.read_csv(people).assign(imputation=1).to_csv(named, index=False)
    said = refused("impute", run, "--data", named, "--draws", 2, "--out", tmp_path / "copies.csv")
    assert "has a column named 'imputation'" in said
    assert "takes numbers alone" in refused("impute", run, "--draws", 2, "--out", out)


def test_a_file_is_read_once(run, people, monkeypatch):
    from lowerbound.data import own_table

    read = []
    contents = own_table.read_contents
    monkeypatch.setattr(own_table, "read_contents", lambda *a, **k: read.append(1) or contents(*a, **k))
    Run.open(run).fitted().imputations(people, 3)
    assert len(read) == 1


def test_quantiles_by_their_level(cli, run, tmp_path):
    low, high = tmp_path / "low.csv", tmp_path / "high.csv"
    for level, out in (("0.05", low), ("0.95", high)):
        assert cli("impute", run, "--statistic", level, "--out", out).code == 0
    one, other = (pd.read_csv(path)["height"] for path in (low, high))
    assert ((one < other).sum(), (one > other).sum()) == (len(range(0, ROWS, 7)), 0)


def test_sample_given_a_column(cli, run, tmp_path):
    out = tmp_path / "men.csv"
    assert cli("sample", run, "--given", "sex=male", "--count", 50, "--out", out).code == 0
    drawn = pd.read_csv(out)
    assert (len(drawn), set(drawn["sex"])) == (50, {"male"})
    assert drawn["height"].mean() == pytest.approx(180, abs=1.5)


def test_score_of_rows_and_cells(cli, run, people, tmp_path):
    spoilt = pd.read_csv(people)
    spoilt.loc[5, "height"] = 120.0
    path, out = tmp_path / "spoilt.csv", tmp_path / "scores.csv"
    spoilt.to_csv(path, index=False)
    assert cli("score", run, "--data", path, "--cells", "--out", out).code == 0
    scores = pd.read_csv(out)
    assert list(scores.columns) == ["row", "log_p", "log_p sex", "log_p height", "log_p visits"]
    assert scores["row"].tolist() == list(range(ROWS))
    assert (scores["log_p"].idxmin(), scores["log_p height"].idxmin()) == (5, 5)
    assert scores["log_p height"].isna().tolist() == spoilt["height"].isna().tolist()


@pytest.mark.parametrize(
    "words, said",
    [
        (["sample", "--given", "sex"], "expected COLUMN=VALUE"),
        (["sample", "--given", "sex=male", "--given", "sex=female"], "twice"),
        (["sample", "--given", "sex=other"], "expected one of female, male"),
        (["sample", "--given", "age=3"], "no column 'age'"),
        (["impute", "--statistic", "most"], "statistic is 'most'"),
        (["impute", "--statistic", "median", "--draws", "2"], "give one of them"),
    ],
)
def test_mistakes_are_one_sentence(refused, run, tmp_path, words, said):
    assert said in refused(words[0], run, *words[1:], "--out", tmp_path / "x.csv")


def test_images_have_no_gaps_and_no_cells(refused, digits_run, tmp_path):
    assert "tables of columns" in refused("impute", digits_run, "--data", "digits", "--out", tmp_path / "x.csv")
    assert "tables of columns" in refused("score", digits_run, "--cells", "--out", tmp_path / "x.csv")
    assert "of kind image" in refused("impute", digits_run, "--out", tmp_path / "x.csv")


def test_names_of_columns_may_hold_an_equals_sign():
    words = ("a=b=0.3", "a==x", "c=1")
    assert values_of(words, "--given", ("a=b", "a", "a=", "c")) == {"a=b": "0.3", "a=": "x", "c": "1"}
