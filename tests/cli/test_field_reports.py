"""What users of such tools report, through the command: each with the right value, or the sentence that refuses it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from lowerbound.runs import Run
from lowerbound.verbs.scoring import score

from .conftest import TINY

RNG = np.random.default_rng(0)
CVAE = "cvae:latent_dim=2,hidden=[8],likelihood=normal"


@pytest.fixture
def fit(cli, tmp_path):
    """Fit with a few steps; the folder and what was printed."""

    def run(data: Path, *options: object, name: str = "run", steps: int = 3, evaluate: bool = False) -> Any:
        path, more = tmp_path / name, [] if evaluate else ["--no-evaluate"]
        tiny = ["--device", "cpu"] if "--recipe" in options else TINY  # a recipe has sizes of its own
        answer = cli("fit", data, "--steps", steps, *tiny, "--out", path, *more, *options)
        assert answer.code == 0, answer.err
        return path, answer.out

    return run


@pytest.fixture
def scored(cli):
    """The scores of a run, on other data if they are given."""

    def run(path: Path, *options: object) -> dict[str, Any]:
        answer = cli("evaluate", path, "--json", "--num-samples", 20, *options)
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return run


def _npy(path: Path, x: np.ndarray) -> Path:
    np.save(path, x)
    return path


# F1, F11: the type in which numbers are stored decides nothing.


@pytest.mark.parametrize(
    "likelihood, x",
    [
        ("poisson", RNG.poisson(3, size=(40, 3))),
        ("bernoulli", RNG.integers(0, 2, size=(40, 3))),
        ("categorical:num_classes=4", RNG.integers(0, 4, size=(40, 3))),
        pytest.param("mixed:columns=count+2*categorical-4", RNG.integers(0, 4, size=(40, 3)), marks=pytest.mark.slow),
    ],
    ids=lambda v: v.partition(":")[0] if isinstance(v, str) else "",
)
def test_bytes_integers_and_floats_of_equal_values_give_equal_scores(fit, scored, tmp_path, likelihood, x):
    files = {kind: _npy(tmp_path / f"{kind}.npy", x.astype(kind)) for kind in ("uint8", "int64", "float64")}
    runs = {kind: fit(file, "--likelihood", likelihood, name=f"run-{kind}")[0] for kind, file in files.items()}
    found = {kind: scored(path) for kind, path in runs.items()}
    for kind in ("int64", "float64"):
        assert {**found[kind], "data": ""} == {**found["uint8"], "data": ""}
    across = scored(runs["int64"], "--data", files["uint8"], "--limit", 10)
    assert across["log_evidence"] == scored(runs["int64"], "--data", files["float64"], "--limit", 10)["log_evidence"]


# F2, F8: classes are known by their names.


@pytest.fixture
def animals(tmp_path) -> tuple[Path, pandas.DataFrame]:
    frame = pandas.DataFrame(RNG.normal(size=(60, 3)), columns=["a", "b", "c"])
    frame["a"] += 5 * (np.arange(60) % 3)
    frame["kind"] = np.array(["ant", "cat", "dog"])[np.arange(60) % 3]
    frame.to_csv(tmp_path / "animals.csv", index=False)
    return tmp_path / "animals.csv", frame


def test_a_file_without_one_of_the_classes_is_scored_as_the_same_rows_are(fit, scored, refused, animals, tmp_path):
    path, frame = animals
    run, _ = fit(path, "--label", "kind", "--recipe", CVAE)
    few = frame[frame["kind"] != "ant"]
    few.to_csv(tmp_path / "few.csv", index=False)
    found = scored(run, "--data", tmp_path / "few.csv")
    fitted = Run.open(run).fitted()
    x = fitted.events(few[["a", "b", "c"]].to_numpy())
    context = fitted.context(np.where(few["kind"] == "cat", 1, 2))
    expected = score(fitted.model, x, context=context, num_samples=20, log_scale=fitted.log_scale)
    assert found["log_evidence"] == pytest.approx(expected["log_evidence"], abs=1e-6)
    few.assign(kind="zebra").to_csv(tmp_path / "zebra.csv", index=False)
    for words in (["evaluate", run], ["encode", run, "--out", tmp_path / "z.npz"]):
        assert "hold the class 'zebra' at row 0" in refused(*words, "--data", tmp_path / "zebra.csv")
    words = ["reconstruct", run, "--data", tmp_path / "zebra.csv", "--out", tmp_path / "r.npz"]
    assert "hold the class 'zebra' at row 0" in refused(*words)


@pytest.mark.parametrize("labels", [(1, 2, 5), (1000, 2000, 5000), (1_000_000, 2_000_000, 3_000_000)])
def test_class_numbers_are_names_and_not_sizes(fit, cli, refused, animals, tmp_path, labels):
    path, frame = animals
    frame.assign(kind=np.array(labels)[np.arange(60) % 3]).to_csv(path, index=False)
    run, _ = fit(path, "--label", "kind", "--recipe", CVAE)
    assert Run.open(run).plan.model["num_classes"] == 3
    assert cli("sample", run, "--class", labels[2], "--count", 2, "--out", tmp_path / "x.npz").code == 0
    assert "There is no class '3'" in refused("sample", run, "--class", 3, "--out", tmp_path / "y.npz")


# F3: columns are known by their names.


def test_swapped_columns_give_the_same_bits_and_renamed_ones_are_refused(scored, refused, table, table_run, tmp_path):
    frame = pandas.read_csv(table)
    frame[["length", "species", "weight", "width"]].to_csv(tmp_path / "swapped.csv", index=False)
    frame.rename(columns={"width": "breadth"}).to_csv(tmp_path / "renamed.csv", index=False)
    own, swapped = (scored(table_run, "--data", data) for data in (table, tmp_path / "swapped.csv"))
    assert {**swapped, "data": ""} == {**own, "data": ""}
    sentence = refused("evaluate", table_run, "--data", tmp_path / "renamed.csv")
    assert "lacks 1 of the 3 columns of the model ('width')" in sentence
    assert "'breadth'" in sentence


# F4: time stamps.


@pytest.mark.drawn
def test_seconds_since_1970_score_as_seconds_since_noon_and_are_drawn_in_a_report(fit, scored, tmp_path):
    x = np.column_stack([RNG.uniform(0, 1020, 100).round(3), RNG.normal(size=100)])
    runs = []
    for name, start in (("since-noon", 0.0), ("since-1970", 1.7e9)):
        file = tmp_path / f"{name}.csv"
        pandas.DataFrame({"t": x[:, 0] + start, "v": x[:, 1]}).to_csv(file, index=False)
        runs.append(fit(file, name=name, evaluate=True)[0])
    noon, epoch = (scored(run) for run in runs)
    assert epoch["log_evidence"] == pytest.approx(noon["log_evidence"], abs=1e-4)
    assert (runs[1] / "report.html").stat().st_size > 1000


# F5: a header that is one name short.


def test_a_header_with_a_name_too_few_is_refused(refused, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i},{i * 0.5},{i % 7}.5\n" for i in range(20)))
    sentence = refused("fit", tmp_path / "x.csv", "--steps", 2, *TINY, "--out", tmp_path / "run")
    assert "3" in sentence
    assert "2" in sentence
    assert not (tmp_path / "run").exists()


def test_other_delimiters_and_decimal_marks_are_read(fit, scored, tmp_path):
    x = RNG.normal(size=(40, 2)).round(3)
    pandas.DataFrame(x, columns=["a", "b"]).to_csv(tmp_path / "x.csv", index=False)
    pandas.DataFrame(x, columns=["a", "b"]).to_csv(tmp_path / "y.csv", index=False, sep=";", decimal=",")
    one, other = (scored(fit(tmp_path / f"{name}.csv", name=name)[0]) for name in ("x", "y"))
    assert {**one, "data": ""} == {**other, "data": ""}


# F13, F23: discrete data have bits, and every likelihood a baseline.


@pytest.mark.parametrize(
    "likelihood, x",
    [
        ("discretized-logistic", RNG.integers(0, 256, size=(20, 2, 2), dtype=np.uint8)),
        pytest.param(
            "discretized-logistic-mixture:num_components=2",
            RNG.integers(0, 256, size=(20, 2, 2, 3), dtype=np.uint8),
            marks=pytest.mark.slow,
        ),
        ("negative-binomial", RNG.poisson(3, size=(20, 2))),
    ],
)
def test_discrete_likelihoods_have_bits_and_a_baseline(fit, cli, tmp_path, likelihood, x):
    run, _ = fit(_npy(tmp_path / "x.npy", x), "--likelihood", likelihood)
    printed = cli("evaluate", run, "--num-samples", 20).out
    found = Run.open(run).evaluation()
    nats_to_bits = found["num_dimensions"] * np.log(2)
    assert found["bits_per_dim"] == pytest.approx(-found["log_evidence"] / nats_to_bits)
    assert "independent elements" in found["baselines"]
    assert "bits/dim" in printed
    assert "independent elements" in printed
    assert "densities" not in printed


def test_photographs_are_not_drawn_as_black_and_white(fit, cli, scored, tmp_path):
    """The report: colour bytes with the defaults were binarized, at 0.92 "bits/dim". Uniform bytes have 8."""
    run, _ = fit(_npy(tmp_path / "x.npy", RNG.integers(0, 256, size=(60, 4, 4, 3), dtype=np.uint8)))
    planned = Run.open(run).plan
    assert (planned.model["likelihood"], planned.binarization) == ("discretized-logistic", "none")
    assert 8 <= scored(run)["bits_per_dim"] < 10
    assert cli("sample", run, "--count", 3, "--out", tmp_path / "drawn.npz").code == 0
    drawn = np.load(tmp_path / "drawn.npz")
    assert (drawn["x"].shape, drawn["x"].dtype, drawn["mean"].shape) == ((3, 4, 4, 3), np.uint8, (3, 4, 4, 3))


# F15: options are typed.


@pytest.mark.parametrize(
    "words, part",
    [
        (["--prior", "laplace:scale=abc"], "laplace got scale=abc and expected a number"),
        (["--objective", "beta-elbo:beta=two"], "beta-elbo got beta=two and expected"),
        (["--likelihood", "mixed"], "mixed needs columns; write it as mixed:columns=VALUE"),
        (["--likelihood", "tokens"], "tokens needs num_symbols; write it as tokens:num_symbols=VALUE"),
        (["--posterior", "iaf:hidden=''"], "got hidden="),
        (["--posterior", "full-normal:latent_dim=3"], "no option 'latent_dim'"),
        (["--recipe", "vade:clusters=1e3,hidden=[1,[2]]"], "got hidden=[1, [2]] and expected a list of whole numbers"),
    ],
)
def test_an_option_of_the_wrong_type_is_one_sentence(refused, tmp_path, words, part):
    assert part in refused("fit", "digits", "--steps", 2, "--out", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


# F16: penalties know the length of z.


def test_a_penalty_goes_with_a_recipe_whose_length_of_z_is_its_own(cli, tmp_path):
    words = ["--recipe", "vade:hidden=[8],clusters=3", "--penalty", "factor-vae", "--steps", 2, "--no-evaluate"]
    assert cli("fit", "digits", *words, "--device", "cpu", "--out", tmp_path / "run").code == 0


# F18, F19: tables as people have them.


@pytest.fixture
def people(tmp_path) -> Path:
    """Age and fare in raw units, with gaps, text, whole numbers, a date, and columns that say nothing."""
    count = 120
    frame = pandas.DataFrame({
        "id": np.arange(count),
        "age": RNG.normal(35, 12, count).round(1),
        "fare": np.exp(RNG.normal(3, 1, count)).round(2),
        "port": np.array(["Cherbourg", "Queenstown", "Southampton"], dtype=object)[RNG.integers(0, 3, count)],
        "siblings": RNG.poisson(0.6, count),
        "boarded": pandas.date_range("1912-04-01", periods=count, freq="D").strftime("%Y-%m-%d"),
        "ship": "Titanic",
        "cabin": np.full(count, np.nan),
    })  # fmt: skip
    frame.loc[::5, "age"] = np.nan
    frame.loc[::7, "port"] = None
    frame.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


def test_a_mixed_table_in_raw_units_starts_at_its_baseline(fit, cli, scored, people, tmp_path):
    """The report: −173 nats in raw units, −12 standardised by hand; no warning and no baseline."""
    run, printed = fit(people, steps=40)
    assert "left out: id" in printed
    assert "ship" in printed
    assert "cabin" in printed
    planned = Run.open(run).plan
    assert planned.model["likelihood"].startswith("mixed:columns=")
    found = scored(run)
    assert abs(found["baselines"]["independent elements"]["margin"]) < 3
    assert cli("sample", run, "--count", 30, "--out", tmp_path / "drawn.csv").code == 0
    drawn = list(csv.DictReader((tmp_path / "drawn.csv").read_text().splitlines()))
    assert list(drawn[0]) == ["age", "fare", "port", "siblings", "boarded"]
    assert {row["port"] for row in drawn} <= {"Cherbourg", "Queenstown", "Southampton"}
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["boarded"]) for row in drawn)
    assert all(int(row["siblings"]) >= 0 for row in drawn)


def test_values_that_a_mixed_column_cannot_hold_are_named(refused, tmp_path):
    frame = pandas.DataFrame({"a": RNG.normal(size=30), "b": np.r_[0.0, RNG.random(29)], "c": RNG.integers(0, 3, 30)})
    frame.to_csv(tmp_path / "zero.csv", index=False)
    words = ["--steps", 2, *TINY, "--out", tmp_path / "run"]
    zero = refused("fit", tmp_path / "zero.csv", "--likelihood", "mixed:columns=continuous+positive+count", *words)
    assert "'b'" in zero
    assert "learning rate" not in zero
    frame.assign(c=frame["c"] / 2).to_csv(tmp_path / "half.csv", index=False)
    half = refused("fit", tmp_path / "half.csv", "--likelihood", "mixed:columns=2*continuous+categorical-3", *words)
    assert "'c'" in half


# F20: archives name their arrays as they like.


def test_an_array_is_named(fit, refused, scored, tmp_path):
    counts = RNG.poisson(3, size=(40, 4))
    np.savez(tmp_path / "cells.npz", reads=counts, spatial=RNG.normal(size=(40, 2)))
    sentence = refused("fit", tmp_path / "cells.npz", "--steps", 2, *TINY, "--out", tmp_path / "none")
    assert "reads" in sentence
    assert "spatial" in sentence
    run, _ = fit(tmp_path / "cells.npz", "--array", "reads")
    named, plain = scored(run), scored(fit(_npy(tmp_path / "x.npy", counts), name="plain")[0])
    assert {**named, "data": ""} == {**plain, "data": ""}


def test_sparse_rows_are_those_that_they_stand_for(fit, scored, tmp_path):
    import scipy.sparse

    counts = RNG.poisson(0.7, size=(40, 4))
    scipy.sparse.save_npz(tmp_path / "sparse.npz", scipy.sparse.csr_matrix(counts))
    sparse, dense = (
        scored(fit(path, name=path.stem)[0]) for path in (tmp_path / "sparse.npz", _npy(tmp_path / "dense.npy", counts))
    )
    assert {**sparse, "data": ""} == {**dense, "data": ""}
