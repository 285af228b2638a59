"""A table of steps as series: which rows are which steps, what is refused, and the way back to a table."""

from __future__ import annotations

import json
import re
from datetime import date

import numpy as np
import pandas
import pytest

from lowerbound.data import DataError
from lowerbound.data.frame_of_series import frame_of_series, named_series
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.kinds import kind_named
from lowerbound.data.may_be_steps import steps_in_words
from lowerbound.data.overrides import Overrides
from lowerbound.data.own_table import filled_table, read_own
from lowerbound.data.remarks import DataWarning
from lowerbound.data.schema import Schema

NAN = np.nan
STEPS = pandas.DataFrame({
    "patient": ["b", "a", "b", "a", "b", "c"],
    "day": [5, 1, 4, 2, 7, 9],
    "pulse": [2.5, NAN, 1.5, 8.5, 4.0, 6.5],
    "ward": [3, 3, 3, 3, 3, 3],
    "visits": [1, 0, 2, 1, 1, 4],
})  # fmt: skip


def read(frame=STEPS, *, series="patient", time="day", hold_out=False, y=None, **said):
    overrides = Overrides.said(said.pop("kind", None), said.pop("columns", None), series=series, time=time)
    return dataset_of(frame, y, overrides=overrides, hold_out=hold_out)


def test_rows_are_steps_of_their_series_in_the_order_of_time():
    data = read()
    assert data.row_names == ("b", "a", "c")
    expected = [[[1.5, 2], [2.5, 1], [NAN, NAN], [4.0, 1]], [[NAN, 0], [8.5, 1], *2 * [[NAN, NAN]]]]
    np.testing.assert_array_equal(data.x_train, [*expected, [[6.5, 4], *3 * [[NAN, NAN]]]])
    assert data.schema.series is not None
    assert (data.schema.series.channels, data.schema.series.step, data.schema.series.first) == (
        ("pulse", "visits"),
        1,
        1,
    )
    assert [(item.name, item.reason) for item in data.schema.left_out] == [("ward", "one value only (3)")]
    said = " ".join(data.notes)
    assert "6 rows are the steps of 3 series of 'patient' in the order of 'day', whose step is 1; 1 steps" in said
    assert "2 series are shorter than 4 steps" in said


def test_without_times_rows_are_in_order_and_that_is_said():
    data = read(STEPS.drop(columns="day"), time=None)
    np.testing.assert_array_equal(data.x_train[0, :, 0], [2.5, 1.5, 4.0])
    assert "in the order of the rows" in data.notes[-1]


@pytest.mark.parametrize(
    "times, step, words, expected",
    [
        (["2024-01-31", "2024-02-07", "2024-02-21"], 7 * 86400, "7 days", [0, 1, 3]),
        (["2023-11-01", "2024-01-01", "2024-02-01", "2024-03-01"], 1, "1 month", [0, 2, 3, 4]),
        (["2023-12-31", "2024-01-31", "2024-02-29", "2024-04-30"], 1, "1 month", [0, 1, 2, 4]),
        (["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:00"], 21600, "6 hours", [0, 1, 2]),
        ([0.1, 0.2, 0.3, 0.5], 0.1, "0.1", [0, 1, 2, 4]),
        ([1e-10, 2e-10, 3e-10, 5e-10], 1e-10, "1e-10", [0, 1, 2, 4]),
        ([1.7e9, 1.7e9 + 0.001, 1.7e9 + 0.002, 1.7e9 + 0.004], 0.001, "0.001", [0, 1, 2, 4]),
        ([date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 2)], 86400, "1 day", [0, 1, 3]),
    ],
)
def test_the_step_is_the_most_usual_difference(times, step, words, expected):
    frame = pandas.DataFrame({"s": 1, "t": times, "a": np.arange(len(times)) + 0.5})
    two = pandas.concat([frame, frame.assign(s=2)])
    data = read(two, series="s", time="t")
    assert data.schema.series is not None
    assert data.schema.series.step == pytest.approx(step)
    assert np.flatnonzero(~np.isnan(data.x_train[0, :, 0])).tolist() == expected
    assert f"{words} apart" in data.kind_of_data.describe(data.schema)[0]
    again = kind_named("series").render(data.x_train, data.schema)
    assert again["s"].tolist() == [1] * (max(expected) + 1) + [2] * (max(expected) + 1)
    known = again[~again["a"].isna()]
    assert known["t"].astype(str).tolist() == [str(time) for time in 2 * times]


@pytest.mark.parametrize(
    "freq, begin, words, local",
    [("D", "2024-03-25", "1 day", True), ("MS", "2024-01-01", "1 month", True), ("h", "2024-03-31", "1 hour", False)],
)
def test_days_of_23_and_25_hours_are_steps_like_others(freq, begin, words, local):
    times = pandas.date_range(begin, periods=12, freq=freq, tz="Europe/Berlin")
    frame = pandas.DataFrame({"s": np.repeat([1, 2], 12), "t": times.append(times), "a": np.arange(24) + 0.5})
    data = read(frame.drop(5), series="s", time="t")
    assert data.schema.series is not None
    assert data.schema.series.local == local
    assert data.event_shape == (12, 1)
    assert np.flatnonzero(np.isnan(data.x_train[0, :, 0])).tolist() == [5]
    assert f"{words} apart" in data.kind_of_data.describe(data.schema)[0]
    again = frame_of_series(data.x_train, data.schema, starts=np.full(2, data.schema.series.first))
    assert again["t"].tolist() == [*times, *times]
    after = frame_of_series(data.x_train[:1, :3], data.schema, offsets=np.array([12]))
    assert after["t"].tolist() == pandas.date_range(begin, periods=15, freq=freq, tz="Europe/Berlin")[12:].tolist()
    schema = Schema.from_json(json.loads(json.dumps(data.schema.to_json())))
    elsewhere = frame.assign(t=frame["t"].dt.tz_convert("UTC"))  # the same moments
    np.testing.assert_array_equal(rows_under(elsewhere, schema).x[1:], data.x_train[1:])
    plain = frame.assign(t=frame["t"].dt.tz_localize(None))
    if local:  # as clocks show it
        np.testing.assert_array_equal(rows_under(plain, schema).x[1:], data.x_train[1:])


def test_days_of_a_zone_at_several_hours_are_off_the_grid():
    times = pandas.to_datetime(["2024-03-29 00:00", "2024-03-30 00:00", "2024-03-31 06:00"]).tz_localize(
        "Europe/Berlin"
    )
    with pytest.raises(DataError, match="is off the grid of steps of"):
        read(pandas.DataFrame({"s": 1, "t": [*times], "a": [1.0, 2, 3]}), series="s", time="t")


def test_the_schema_is_saved_and_reads_other_tables():
    data = read()
    schema = Schema.from_json(json.loads(json.dumps(data.schema.to_json())))
    assert schema == data.schema
    other = pandas.DataFrame({"visits": [7, 8], "pulse": [1.0, 2.0], "day": [103, 101], "patient": ["x", "x"]})
    rows = rows_under(other, schema)
    np.testing.assert_array_equal(rows.x[0], [[2, 8], [NAN, NAN], [1, 7], [NAN, NAN]])
    assert (rows.row_names, rows.starts.tolist()) == (("x",), [101.0])
    np.testing.assert_array_equal(rows_under(data.x_train, schema).x, data.x_train)
    with pytest.raises(ValueError, match="is not readable"):
        Schema.from_json({**schema.to_json(), "series": None})


def test_gaps_are_filled_in_the_rows_that_there_are():
    schema = read().schema
    own, rows = read_own(STEPS, schema)
    gap = np.isnan(rows.x)
    filled = filled_table(own, np.where(gap, 55.26, rows.x), gap, schema)
    assert filled.columns.tolist() == STEPS.columns.tolist()
    pandas.testing.assert_frame_equal(filled, STEPS.assign(pulse=STEPS.pulse.fillna(55.3)))


def test_a_series_has_one_label():
    frame = STEPS.assign(outcome=["yes", None, None, "no", "yes", "no"])
    data = read(frame, y="outcome")
    assert data.y_train.tolist() == [1, 0, 0]
    assert data.schema.classes == ("no", "yes")
    with pytest.raises(DataError, match="series 'b' of X has several labels in 'outcome'"):
        read(STEPS.assign(outcome=list("xyzyxx")), y="outcome")


def test_series_are_held_out_whole():
    frame = pandas.DataFrame({"s": np.repeat(np.arange(20), 5), "a": np.arange(100) * 0.5})
    data = read(frame, series="s", time=None, hold_out=True)
    assert (data.num_train, data.num_test) == (16, 4)
    for number, series in zip(data.test_rows, data.x_test, strict=True):
        np.testing.assert_array_equal(series[:, 0], frame.a[frame.s == int(data.row_names[number])])


@pytest.mark.parametrize(
    "changes, said, words",
    [
        ({"day": [5, 1, 4, 2, 4, 9]}, {}, "row 4 of X has the time '4', which another row of series 'b' has too"),
        ({"day": [5, 1, 4, 2, 6.4, 9]}, {}, "row 4 of X, '6.4' of series 'b', is off the grid of steps of 1 "),
        ({"day": [5, 1, NAN, 2, 7, 9]}, {}, "no time at row 2"),
        ({"day": list("uvwxyz")}, {}, "holds texts and times are numbers, or dates"),
        ({"patient": ["b", "a", None, "a", "b", "c"]}, {}, "names no series at row 2"),
        ({"ward": list("xyxyxy")}, {}, "column 'ward' of X holds texts, and the channels of series are numbers"),
        ({"pulse": [1.0, np.inf, 2, 3, 4, 5]}, {}, "row 1, column 'pulse'"),
        ({"day": [5, 1, 4, 2, 4_000_000, 9]}, {}, "series of up to 3,999,997 steps with 3 rows at most"),
        ({}, {"series": "patien"}, "nearest of its 5 names: 'patient'"),
        ({}, {"time": "patient"}, "is named as the series and as the time"),
        ({}, {"series": None}, "'day' is named as the time and no column as the series"),
        ({}, {"kind": "table"}, "a column of series was named and the data said to be table"),
        ({}, {"kind": "series", "series": None, "time": None}, "no column of series is named"),
        ({}, {"columns": {"pulse": "count"}}, "column 'pulse' of X cannot be count"),
        ({}, {"columns": {"pulse": "drop", "visits": "drop"}}, "has no column of numbers beside"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_steps_is_refused(changes, said, words):
    with pytest.raises(DataError, match=re.escape(words)):
        read(STEPS.assign(**changes), **said)


def test_other_tables_have_to_be_of_the_same_steps():
    schema = read().schema
    for changes, words in (
        ({"day": [5, 1, 4, 2, 8, 9]}, "series 'b' of X has 5 steps and those of the fit 4 at most"),
        ({"day": [5, 1, 4, 2, 4.5, 9]}, "is off the grid of steps of 1"),
        ({"day": pandas.to_datetime("2024-01-01")}, "holds dates; expected numbers, as in training"),
        ({"pulse": list("abcdef")}, "column 'pulse' of X holds texts"),
    ):
        with pytest.raises(DataError, match=words):
            rows_under(STEPS.assign(**changes), schema)
    with pytest.raises(DataError, match="X has no 'visits'"):
        rows_under(STEPS.drop(columns="visits"), schema)
    with pytest.raises(DataError, match="X is no table, and series='patient' names a column of one"):
        read(np.zeros((3, 4)))
    with pytest.raises(DataError, match="goes with a table of steps"):
        dataset_of("digits", overrides=Overrides(series="patient"))


def test_memory_is_asked_before_it_is_taken(monkeypatch):
    monkeypatch.setattr("lowerbound.data.memory.available_memory", lambda: 100)
    with pytest.raises(DataError, match="3 x 4 x 2 numbers"):
        read()


def test_a_table_that_may_be_one_of_steps_is_told_how_to_say_so():
    rng = np.random.default_rng(0)
    steps = pandas.DataFrame({"shop": np.repeat(list("abcd"), 9), "week": np.tile(np.arange(9), 4)})
    steps["sold"] = rng.normal(size=36)
    for frame in (steps, steps.sample(frac=1, random_state=0), steps.drop(index=[3, 17])):
        assert "--series 'shop' --time 'week'" in str(steps_in_words(frame, "X"))
    dates = steps.assign(week=pandas.to_datetime("2024-01-01") + pandas.to_timedelta(7 * steps.week, unit="D"))
    with pytest.warns(DataWarning, match="X may be a table of steps"):
        data = dataset_of(dates)
    assert data.kind == "table"

    penguins = steps.assign(week=rng.integers(2007, 2010, 36))
    one_long_series = steps.assign(shop=np.tile(list("abcd"), 9), week=np.arange(36))
    for frame in (penguins, one_long_series, steps.drop(columns="week"), steps.iloc[:9]):
        assert steps_in_words(frame, "X") is None


def test_whole_numbers_beyond_float64_name_series_apart():
    ids = [2**60 + 1, 2**60 + 1, 2**60, 2**60, -(2**60) - 1]
    frame = pandas.DataFrame({"s": ids, "a": np.arange(5) + 0.5})
    for dtype in ("int64", "Int64"):
        data = read(frame.astype({"s": dtype}), series="s", time=None)
        assert data.row_names == (str(2**60 + 1), str(2**60), str(-(2**60) - 1))
        again = frame_of_series(data.x_train, data.schema, names=data.row_names, lengths=np.array([2, 2, 1]))
        assert again["s"].tolist() == ids
    other = rows_under(frame.assign(s=["x", "x", "y", "y", "z"]), data.schema)
    assert named_series(other.row_names, data.schema.series).tolist() == ["x", "y", "z"]


def test_two_columns_of_one_name_are_refused():
    twice = pandas.concat([STEPS, STEPS[["pulse"]]], axis=1)
    with pytest.raises(DataError, match="X has two columns named 'pulse'; rename one of them"):
        read(twice)
    with pytest.raises(DataError, match="X has two columns named 'pulse'; rename one of them"):
        rows_under(twice, read().schema)
    np.testing.assert_array_equal(
        rows_under(pandas.concat([STEPS, STEPS[["ward"]]], axis=1), read().schema).x, read().x_train
    )


@pytest.mark.parametrize("as_dates", [str, pandas.Timestamp])
def test_dates_that_name_series_are_written_as_dates(as_dates):
    names = ["2024-02-29", "2024-02-29", "2023-12-31"]
    frame = pandas.DataFrame({"s": [as_dates(name) for name in names], "a": [0.5, 1.5, 2.5]})
    data = read(frame, series="s", time=None)
    assert data.row_names == ("2024-02-29", "2023-12-31")
    assert named_series(data.row_names, data.schema.series).tolist() == ["2024-02-29", "2023-12-31"]


def test_one_series_is_called_a_series():
    with pytest.raises(DataError, match="X holds one series; a model is fitted to at least two"):
        read(STEPS[STEPS.patient == "b"])
