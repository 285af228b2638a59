"""Siblings of what users report, which were found by trying each kind of fault on every other road."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import lowerbound as lb

from .conftest import TINY

RNG = np.random.default_rng(0)
LADDER = "ladder:latent_dims=[3,2],hidden=[[8],[8]]"


@pytest.fixture
def table(tmp_path) -> Path:
    frame = pandas.DataFrame({"a": RNG.normal(size=40), "n": RNG.poisson(2, 40), "who": np.resize(["ant", "cat"], 40)})
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def _fitted(cli, data: Path | str, path: Path, *options: object) -> Path:
    answer = cli("fit", data, "--steps", 2, "--out", path, "--no-evaluate", "--device", "cpu", *options)
    assert answer.code == 0, answer.err
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_reconstructed_as_a_table(cli, refused, table, tmp_path, ending) -> None:
    run = _fitted(cli, table, tmp_path / "run", "--hidden", "8")
    out = tmp_path / f"again.{ending}"
    assert cli("reconstruct", run, "--count", 5, "--out", out).code == 0
    again = pandas.read_csv(out) if ending == "csv" else pandas.read_parquet(out)
    assert list(again.columns) == ["a", "n", "who"]
    assert len(again) == 5
    assert set(again["who"]) <= {"ant", "cat"}
    assert "is of rows of a table, which have no picture" in refused("reconstruct", run, "--out", tmp_path / "r.png")


def test_a_cell_too_large_to_be_squared_is_refused_and_not_scored_as_nothing(cli, refused, tmp_path) -> None:
    x = RNG.normal(size=(50, 3))
    np.save(tmp_path / "x.npy", x)
    run = _fitted(cli, tmp_path / "x.npy", tmp_path / "run", "--recipe", "vae", "--hidden", "8")
    x[3, 1] = 1e30
    np.save(tmp_path / "far.npy", x)
    for words in (["evaluate", run], ["encode", run, "--out", tmp_path / "z.npz"]):
        sentence = refused(*words, "--data", tmp_path / "far.npy")
        assert "at row 3, column '1'; Normal takes finite numbers whose squares are finite as well" in sentence
    fitted = lb.fit(x[4:], steps=1)
    with pytest.raises(ValueError, match="row 3, column '1'"):
        fitted.score(x)


def test_rows_without_a_finite_density_are_named(cli, refused, tmp_path, monkeypatch) -> None:
    np.save(tmp_path / "x.npy", RNG.normal(size=(50, 3)))
    run = _fitted(cli, tmp_path / "x.npy", tmp_path / "run", "--recipe", "vae", "--hidden", "8")
    real = lb.evaluate.log_evidence

    def spoilt(*arguments: Any, **options: Any) -> Any:
        found = real(*arguments, **options)
        found.log_evidence[2] = -np.inf
        return found

    monkeypatch.setattr("lowerbound.verbs.scoring.log_evidence", spoilt)
    assert "log p(x) of 1 of the 10 rows is no finite number, first of row 2" in refused("evaluate", run)


def test_rows_without_latents_are_as_many_as_were_asked_for(cli, tmp_path) -> None:
    run = _fitted(cli, "digits", tmp_path / "run", "--recipe", "autoregressive-rows:hidden=[8],recurrent_dim=8")
    assert cli("sample", run, "--count", 3, "--out", tmp_path / "s.npz").code == 0
    drawn = np.load(tmp_path / "s.npz")
    assert drawn["x"].shape == drawn["mean"].shape == (3, 8, 8)
    assert not np.array_equal(drawn["x"][0], drawn["x"][1])
    assert cli("sample", run, "--count", 3, "--out", tmp_path / "s.png").code == 0


@pytest.mark.parametrize("penalty", ["mmd", "factor-vae"])
def test_a_penalty_of_several_layers_is_refused(refused, tmp_path, penalty) -> None:
    sentence = refused(
        "fit", "digits", "--recipe", "ladder", "--penalty", penalty, "--steps", 1, "--out", tmp_path / "r"
    )
    assert "compares latents of one layer and the model has several; leave the penalty out" in sentence


def test_several_latents_are_not_refined(cli, refused, tmp_path) -> None:
    run = _fitted(cli, "digits", tmp_path / "run", "--recipe", LADDER)
    sentence = refused("encode", run, "--refine", 2, "--out", tmp_path / "z.npz")
    assert sentence == f"The run {run} has several latents for a row, which refine cannot improve; leave it out."


def test_a_negative_scale_is_refused_before_the_first_step(refused, tmp_path) -> None:
    np.save(tmp_path / "x.npy", RNG.normal(size=(50, 3)))
    words = ["fit", tmp_path / "x.npy", *TINY, "--steps", 1, "--out", tmp_path / "r", "--recipe", "vae"]
    assert "The smallest scale is -1" in refused(*words, "--likelihood", "normal:min_scale=-1")
    assert not (tmp_path / "r").exists()


def test_too_little_memory_is_a_sentence(refused, tmp_path) -> None:
    np.save(tmp_path / "x.npy", RNG.normal(size=(50, 3)))
    words = ["fit", tmp_path / "x.npy", "--steps", 1, "--out", tmp_path / "r", "--recipe", "vae"]
    assert "GiB of memory (over" in refused(*words, "--latent-dim", 10**13)


def test_the_schedules_of_the_readme_are_listed(cli) -> None:
    answer = cli("choices", "schedule")
    names = {line.partition(":")[0] for line in answer.out.splitlines() if not line.startswith(" ")}
    assert {"constant", "cosine", "exponential", "milestones", "warmup", "linear", "sigmoid", "cyclical"} <= names


def test_paths_that_cannot_be_looked_up_are_sentences(refused, tmp_path) -> None:
    (tmp_path / "one.csv").symlink_to(tmp_path / "other.csv")
    (tmp_path / "other.csv").symlink_to(tmp_path / "one.csv")
    assert "cannot be read" in refused("fit", tmp_path / "one.csv")
    assert "cannot be read" in refused("fit", tmp_path / f"{'a' * 300}.csv")
