"""A table of steps through the command and in Python: fit, every verb on series, forecasts, and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.cli.row_names import named_rows, named_series_alone
from lowerbound.data.remarks import DataWarning
from lowerbound.runs import Run

RECIPE = "hidden-markov:states=2"


def steps() -> pandas.DataFrame:
    """Two readings a week of thirty wells that are in one of two states, with weeks that are missing and early ends."""
    rng, rows = np.random.default_rng(0), []
    for well in range(30):
        state = int(rng.random() < 0.5)
        for week in range(int(rng.integers(8, 13))):
            state = state if rng.random() > 0.15 else 1 - state
            reading = (round(20 + 9 * state + rng.normal(), 1), int(rng.poisson(4 + 20 * state)))
            rows.append((f"w{well}", np.datetime64("2024-01-01") + 7 * week, *reading))
    frame = pandas.DataFrame(rows, columns=["well", "week", "level", "pumped"])
    frame.loc[::11, "level"] = np.nan
    return frame.drop(index=range(5, 300, 29)).reset_index(drop=True)


@pytest.fixture(scope="module")
def wells(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file, and a run that was fitted to it."""
    folder = tmp_path_factory.mktemp("wells")
    steps().to_csv(folder / "wells.csv", index=False)
    words = ["--series", "well", "--time", "week", "--recipe", RECIPE, "--device", "cpu", "--no-evaluate"]
    assert main(["fit", str(folder / "wells.csv"), *words, "--out", str(folder / "run")]) == 0
    return folder / "wells.csv", folder / "run"


def test_series_longer_than_those_of_the_fit_are_refused(fitted: lb.Fitted) -> None:
    most = fitted.schema.event_shape[0]
    week = np.datetime64("2024-01-01") + 7 * np.arange(most + 2)
    long = pandas.DataFrame({"well": "w0", "week": week, "level": 20.0, "pumped": 4})
    with pytest.raises(ValueError, match=f"series 'w0' of X has {most + 2} steps and those of the fit {most} at most"):
        fitted.forecast(long, 3)
    with pytest.raises(ValueError, match=rf"\({most}, 2\)"):
        fitted.forecast(np.zeros((1, most + 2, 2)), 3)
    at_most = fitted.forecast(long[:most], 3)  # the end of the longest series is no end of what can be asked
    assert at_most.table()["week"].tolist() == [str(day) for day in week[-1] + 7 * np.arange(-1, 2)]


@pytest.fixture(scope="module")
def fitted(wells: tuple[Path, Path]) -> lb.Fitted:
    return lb.Fitted.open(wells[1])


def test_it_is_the_same_by_every_road(wells, fitted):
    frame = pandas.read_csv(wells[0])
    assert Run.open(wells[1]).dataset.checksum == fitted.config["data"]["checksum"]
    for data in (frame, steps(), wells[0]):
        other = lb.fit(data, RECIPE, series="well", time="week", device="cpu")
        for name, tensor in fitted.model.state_dict().items():
            assert torch.equal(tensor, other.model.state_dict()[name]), name
        np.testing.assert_array_equal(other.score(data), fitted.score(wells[0]))
        assert other.schema.series is not None
        assert other.schema.series.step == 7 * 86400
    saved = other.save(wells[1].parent / "saved")
    np.testing.assert_array_equal(lb.Fitted.open(saved).dataset.x_test, fitted.dataset.x_test)


def test_results_are_tables_with_the_columns_of_the_data(cli, wells, fitted, tmp_path):
    frame, (file, run) = pandas.read_csv(wells[0]), wells
    assert cli("impute", run, "--out", tmp_path / "full.csv").out.startswith(f"Wrote {len(frame)} rows")
    full = pandas.read_csv(tmp_path / "full.csv")
    assert not full.isna().any().any()
    pandas.testing.assert_frame_equal(full.where(frame.notna()), frame)

    for verb, columns in (("encode", ["row", "well", "state_0"]), ("score", ["row", "well", "log_p"])):
        assert cli(verb, run, "--data", file, "--out", tmp_path / f"{verb}.csv").code == 0
        found = pandas.read_csv(tmp_path / f"{verb}.csv")
        assert found.columns.tolist()[:3] == columns
        assert found["well"].tolist() == frame["well"].unique().tolist()
        assert cli(verb, run, "--out", tmp_path / f"{verb}.npz").code == 0
        with np.load(tmp_path / f"{verb}.npz") as arrays:
            assert [f"w{row}" for row in arrays["row"]] == arrays["series"].tolist()

    assert cli("sample", run, "--count", 3, "--out", tmp_path / "new.csv").code == 0
    new = pandas.read_csv(tmp_path / "new.csv")
    assert new.dtypes.equals(frame.assign(well=1).dtypes)
    assert new["well"].value_counts().to_dict() == dict.fromkeys((1, 2, 3), fitted.schema.event_shape[0])
    assert new["week"].tolist()[:2] == ["2024-01-01", "2024-01-08"]
    assert cli("sample", run, "--count", 3, "--out", tmp_path / "new.npz").code == 0

    assert cli("reconstruct", run, "--data", file, "--out", tmp_path / "again.csv").code == 0
    again = pandas.read_csv(tmp_path / "again.csv")
    merged = frame.merge(again, on=["well", "week"], suffixes=("", "_again"))
    assert len(merged) == len(frame[frame["well"].isin(again["well"])])
    assert np.nanmean(np.abs(merged["level"] - merged["level_again"])) < 2
    ids = ["well", "week"]
    pandas.testing.assert_frame_equal(fitted.reconstruct(steps())[ids].head(9), again[ids].head(9), check_dtype=False)
    assert cli("reconstruct", run, "--out", tmp_path / "again.npz").code == 0
    assert cli("evaluate", run, "--data", file).code == 0


def test_forecasts_follow_each_series(cli, wells, fitted, tmp_path):
    frame, (file, run) = pandas.read_csv(wells[0]), wells
    answer = cli("predict", run, "--data", file, "--steps", 3, "--out", tmp_path / "next.csv")
    assert answer.out == f"Wrote 3 steps of 30 series with intervals of 90 %, exact, to {tmp_path / 'next.csv'}\n"
    found = pandas.read_csv(tmp_path / "next.csv")
    assert found.columns.tolist()[:6] == ["well", "week", "level", "level_median", "level_lower", "level_upper"]
    last = pandas.to_datetime(frame.groupby("well", sort=False)["week"].max())
    first = pandas.to_datetime(found.groupby("well", sort=False)["week"].min())
    assert ((first - last).dt.days == 7).all()
    assert (found["level_lower"] < found["level_median"]).all()
    assert (found["level_median"] < found["level_upper"]).all()
    pandas.testing.assert_frame_equal(fitted.forecast(steps(), 3).table(), found, check_dtype=False)

    wide = fitted.forecast(file, 3, interval=0.99)
    assert (wide.upper - wide.lower > fitted.forecast(file, 3).upper - fitted.forecast(file, 3).lower).all()
    words = ["predict", run, "--steps", 2, "--count", 4, "--out"]
    assert cli(*words, tmp_path / "next.npz").code == 0
    with np.load(tmp_path / "next.npz") as arrays:
        assert {name: arrays[name].shape for name in ("series", "mean", "upper")} == {
            "series": (4,), "mean": (4, 2, 2), "upper": (4, 2, 2)
        }  # fmt: skip
    assert cli(*words, tmp_path / "next.png").code == 0
    with Image.open(tmp_path / "next.png") as picture:
        assert min(picture.size) > 300


def test_forecasts_of_held_back_steps_cover_what_they_say(fitted):
    frame = steps().assign(week=lambda frame: frame["week"].astype(str))
    begun = frame[frame["week"] < "2024-02-19"]
    found = fitted.forecast(begun, 2, interval=0.8).table().merge(frame, on=["well", "week"], suffixes=("_mean", ""))
    inside = (found["level_lower"] <= found["level"]) & (found["level"] <= found["level_upper"])
    assert len(found) > 40
    assert 0.65 < inside[found["level"].notna()].mean() < 0.95


def test_arrays_are_forecast_as_arrays(cli, refused, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8, 2)).cumsum(1)
    np.save(tmp_path / "x.npy", x)
    fitted = lb.fit(tmp_path / "x.npy", "mixture-of-factor-analysers:components=1,latent_dim=3", device="cpu")
    fitted.save(tmp_path / "run")
    x[:, 6:] = np.nan
    np.save(tmp_path / "begun.npy", x)
    words = ["predict", tmp_path / "run", "--data", tmp_path / "begun.npy", "--out"]
    assert cli(*words, tmp_path / "next.npz", "--steps", 2).code == 0
    with np.load(tmp_path / "next.npz") as arrays:
        np.testing.assert_array_equal(arrays["lower"], fitted.forecast(x, 2).lower)
        assert "series" not in arrays
    assert "goes beyond the 8 steps" in refused(*words, tmp_path / "x.npz", "--steps", 3)
    assert "is of arrays, which no .csv file holds" in refused(*words, tmp_path / "x.csv", "--steps", 2)
    with pytest.raises(ValueError, match="model is of arrays, whose steps have no table"):
        fitted.forecast(x, 2).table()


@pytest.mark.parametrize("recipe", ["autoregressive-rows", "state-space"])
def test_models_without_gaps_are_asked_of_series_that_end(recipe):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"s": np.repeat(np.arange(30), 6), "a": 500 + 3 * rng.normal(size=180)})
    options = {"likelihood": "normal:scale=per-dimension", "hidden": [4], "recurrent_dim": 4, "device": "cpu"}
    fitted = lb.fit(frame, recipe, series="s", steps=5, **options)
    begun = frame[frame.groupby("s").cumcount() < 2 + frame["s"] % 3]
    found = fitted.forecast(begun, 2, num_samples=200)
    assert not found.exact
    assert found.begins.tolist() == [2 + s % 3 for s in range(30)]
    assert (np.abs(found.mean - 500) < 20).all()
    assert (found.lower < found.upper).all()


def test_walks_along_latents_are_tables_of_steps(cli, refused, tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 4)).round(2)
    frame = pandas.DataFrame({"s": np.repeat(np.arange(30), 4), "step": x.ravel()})
    fitted = lb.fit(frame, "vae", series="s", latent_dim=1, hidden=[4], steps=2, device="cpu")
    frame.to_csv(tmp_path / "x.csv", index=False)
    run = fitted.save(tmp_path / "run")
    words = ["--data", tmp_path / "x.csv", "--out", tmp_path / "out.csv"]
    assert cli("traverse", run, "--steps", 3, *words).code == 0
    found = pandas.read_csv(tmp_path / "out.csv")
    assert found.columns.tolist() == ["latent", "activity", "walk_step", "z", "s", "step"]
    assert found["walk_step"].tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert found["s"].tolist() == np.repeat([1, 2, 3], 4).tolist()
    assert found.groupby("s")["z"].nunique().tolist() == [1, 1, 1]
    said = refused("predict", run, "--steps", 2, *words[:2], "--out", tmp_path / "next.csv")
    assert "(vae) cannot say what follows the beginning of a series; fit the recipe hidden-markov" in said


@pytest.mark.parametrize("name", ["row", "log_p", "state_0"])
def test_a_column_of_series_stands_beside_results_of_its_name(fitted, name):
    rows = fitted.rows(steps())
    rows = replace(rows, schema=replace(rows.schema, series=replace(rows.schema.series, column=name)))
    for named in (named_rows, named_series_alone):
        found = named(rows, ("row", "log_p", "state_0"))
        assert {key: list(values) for key, values in found.items()} == {f"{name}_series": list(rows.row_names)}
        assert list(named(rows, ("mean_0",))) == [name]


def test_channels_with_units_of_their_own_are_coded_without_loss(cli, tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"s": np.repeat(np.arange(20), 4), "a": (500 + 90 * rng.normal(size=80)).round(1)})
    frame["b"] = rng.normal(size=80).round(1)
    frame.to_csv(tmp_path / "x.csv", index=False)
    run = lb.fit(frame, "state-space", series="s", latent_dim=1, steps=1, device="cpu").save(tmp_path / "run")
    assert cli("compress", run, tmp_path / "x.csv", "--out", tmp_path / "x.lb").code == 0
    assert cli("decompress", run, tmp_path / "x.lb", "--out", tmp_path / "back.csv").code == 0
    pandas.testing.assert_frame_equal(pandas.read_csv(tmp_path / "back.csv")[["a", "b"]], frame[["a", "b"]])


def test_what_does_not_fit_is_refused(refused, wells, table_run, tmp_path):
    file, run = wells
    out = ["--out", tmp_path / "x.csv"]
    assert "Missing option --steps" in refused("predict", run, *out)
    assert "--given-frames does not go with series" in refused("predict", run, "--given-frames", 2, *out)
    assert "predict is for series, and for clips" in refused("predict", table_run, "--steps", 2, *out)
    assert "a table of steps; write .csv or .npz" in refused("sample", run, "--out", tmp_path / "x.png")
    assert "has no 'wel'; the nearest" in refused("fit", file, "--series", "wel")
    assert "leave --kind, --columns, --series" in refused("fit", file, "--series", "well", "--from", run)
    assert "--series is for files" in refused("fit", "digits", "--series", "well")
    other = steps().assign(level=np.nan, pumped=np.nan)
    other.to_csv(tmp_path / "empty.csv", index=False)
    said = refused("predict", run, "--data", tmp_path / "empty.csv", "--steps", 2, *out)
    assert "series 'w0' of empty.csv has no step of which anything was observed" in said


def test_a_table_without_series_is_said_to_be_one_of_steps(wells):
    from lowerbound.cli.describe import fit_sentences

    frame = pandas.read_csv(wells[0]).fillna(0.0)
    fitted = lb.fit(frame[["week", "level", "pumped"]].assign(week=range(len(frame))), "hidden-markov", device="cpu")
    assert fitted.plan is not None
    said = " ".join(fit_sentences(fitted.dataset, fitted.transform, fitted.plan, fitted.model))
    assert "each of which is a step of one number" in said
    text = io.StringIO(frame.to_csv(index=False))
    with pytest.warns(DataWarning, match="--series 'well' --time 'week'"):
        lb.data.given.dataset_of(pandas.read_csv(text))
