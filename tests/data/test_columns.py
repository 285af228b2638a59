"""What a column is inferred to be, what is said of it, and the way back."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest

from lowerbound.data import DataError, Dataset, parse_columns, read_file
from lowerbound.data.columns import long_tailed
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.kinds import kind_named
from lowerbound.data.kinds.table import Table
from lowerbound.data.overrides import Overrides
from lowerbound.data.own_table import filled_table
from lowerbound.data.rows_of_columns import rows_of_table
from lowerbound.data.schema import LeftOut, Schema, plain_dtype

N = 60
RNG = np.random.default_rng(1)


def _mixed() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "row": np.arange(N)[::-1],
            "name": [f"person {i}" for i in range(N)],
            "age": rng.integers(18, 90, N),
            "height": np.round(rng.normal(1.7, 0.1, N), 2),
            "income": np.exp(rng.normal(10, 1.2, N)).round(1),
            "visits": rng.poisson(2.0, N),
            "smokes": rng.random(N) < 0.3,
            "sex": np.resize(["f", "m", "f"], N),
            "grade": pandas.Categorical(np.resize(["low", "high"], N), ["low", "middle", "high"], ordered=True),
            "code": pandas.Categorical(np.resize([30, 4], N)),
            "born": pandas.to_datetime("1990-01-01") + pandas.to_timedelta(np.arange(N) * 86400, unit="s"),
            "seen": [f"2024-03-{1 + i % 28:02d} 12:30" for i in range(N)],
            "children": pandas.array(np.resize([0, 1, 2, 3], N), dtype="Int64"),
            "constant": 3,
            "empty": np.nan,
            "remark": [f"text {i // 2} on {i % 40}" for i in range(N)],
        }
    )


KINDS = {
    "age": "continuous", "height": "continuous", "income": "positive", "visits": "count", "smokes": "boolean",
    "sex": "categorical", "grade": "ordinal", "code": "categorical", "born": "date", "seen": "date",
    "children": "ordinal",
}  # fmt: skip
LEFT_OUT = {
    "row": "consecutive numbers, one for each row",
    "name": "a text for each row",
    "constant": "one value only (3)",
    "empty": "no values",
    "remark": "a text for each row",
}


def test_the_kind_of_each_column() -> None:
    schema = Dataset.from_frame(_mixed()).schema
    assert schema.columns is not None
    assert {column.name: column.kind for column in schema.columns} == KINDS
    assert {item.name: item.reason for item in schema.left_out} == LEFT_OUT
    assert Dataset.from_frame(_mixed()).default_likelihood == (
        "mixed:columns=2*continuous+positive+count+2*categorical-2+ordinal-3+categorical-2+2*continuous+ordinal-4"
    )
    assert Schema.from_json(schema.to_json()) == schema


def test_the_way_back_gives_the_users_frame() -> None:
    frame = _mixed()
    data = Dataset.from_frame(frame, schema=Dataset.from_frame(frame).schema)
    rows = rows_of_table(frame, data.schema, "frame")
    back = data.kind_of_data.render(rows, data.schema)
    pandas.testing.assert_frame_equal(back, frame[list(KINDS)])


def test_draws_are_rounded_to_what_can_stand_in_a_column() -> None:
    data = Dataset.from_frame(_mixed())
    assert data.schema.columns is not None
    noise = data.x_train[:4] + np.array([0.3, 0.001, 0.01, -9.0, 0.4, 0.4, 7.0, -0.2, 4000.0, 20.0, 0.3])
    back = data.kind_of_data.render(noise, data.schema)
    known = data.kind_of_data.render(data.x_train[:4], data.schema)
    assert (back["visits"] == 0).all()
    assert (back["grade"] == "high").all()
    for name in ("age", "smokes", "sex", "code", "born", "seen", "children"):
        assert back[name].tolist() == known[name].tolist()
    assert back["height"].tolist() == known["height"].tolist()


def test_gaps_go_there_and_back() -> None:
    frame = _mixed()[["age", "height", "sex", "smokes", "born", "children"]].astype({"smokes": "boolean"})
    for i, name in enumerate(frame.columns):
        frame.loc[i, name] = None
    schema = Dataset.from_frame(frame).schema
    assert [column.missing for column in schema.columns or ()] == [1] * 6
    rows = rows_of_table(frame, schema, "frame")
    assert np.isnan(rows).sum() == 6
    back = Table().render(rows, schema)
    assert (back.isna() == frame.isna()).all(axis=None)
    assert back["born"].dropna().tolist() == frame["born"].dropna().tolist()


def test_what_is_said_goes_before_what_is_inferred() -> None:
    said = parse_columns("row=continuous, age=categorical, sex=drop, visits=ordinal, constant=continuous")
    schema = Dataset.from_frame(_mixed(), columns=said).schema
    kinds = {column.name: column.kind for column in schema.columns or ()}
    assert {name: kinds.get(name) for name in said} == {
        "row": "continuous", "age": "categorical", "sex": None, "visits": "ordinal", "constant": "continuous"
    }  # fmt: skip
    ages = sorted(set(_mixed()["age"].tolist()))
    assert (schema.columns or ())[1].categories == tuple(map(str, ages))
    frame = _mixed()
    back = Table().render(rows_of_table(frame, schema, "frame"), schema)
    assert back["age"].tolist() == frame["age"].tolist()
    assert back["age"].dtype == frame["age"].dtype


@pytest.mark.parametrize(
    "said, words",
    [
        ({"sex": "continuous"}, "column 'sex' of frame cannot be continuous: it holds text such as 'f'"),
        ({"height": "count"}, "column 'height' cannot be count"),
        ({"visits": "positive"}, "column 'visits' cannot be positive"),
        ({"age": "boolean"}, "needs 2 to 2"),
        ({"agee": "drop"}, "frame has no column 'agee'; the nearest of its 16 names: 'age'"),
        ({"age": "number"}, "column 'age' cannot be 'number'; choose one of continuous"),
        ({"*": "drop"}, "frame has no column to learn from"),
    ],
)
def test_what_cannot_be_said(said, words) -> None:
    with pytest.raises(DataError) as caught:
        Dataset.from_frame(_mixed(), columns=said)
    assert words in str(caught.value)


def test_categories_that_the_fit_has_not_seen_are_refused() -> None:
    schema = Dataset.from_frame(_mixed()).schema
    other = _mixed()
    other.loc[3, "sex"] = "x"
    with pytest.raises(DataError, match="column 'sex' of o holds 'x' at row 3, which the model has not seen"):
        Dataset.from_frame(other, schema=schema, name="o")
    other = _mixed().assign(age="old")
    with pytest.raises(DataError, match="column 'age' of o holds texts; expected numbers"):
        Dataset.from_frame(other, schema=schema, name="o")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float32])
def test_the_type_of_numbers_decides_nothing(dtype) -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 2, N), rng.poisson(1, N), rng.integers(20, 90, N)])
    reference = Dataset.from_array(x, kind="table")
    assert [c.kind for c in reference.schema.columns or ()] == ["boolean", "count", "continuous"]
    data = Dataset.from_array(x.astype(dtype), kind="table")
    kinds = [(c.kind, c.categories, c.decimals, c.low, c.high) for c in data.schema.columns or ()]
    assert kinds == [(c.kind, c.categories, c.decimals, c.low, c.high) for c in reference.schema.columns or ()]
    np.testing.assert_array_equal(data.x_train, reference.x_train)


def test_a_constant_column_of_an_array_is_left_out_and_given_back() -> None:
    x = np.column_stack([np.arange(N), np.full(N, 3.5), np.random.default_rng(0).normal(size=N)])
    data = Dataset.from_array(x)
    assert data.schema.left_out == (LeftOut(name="1", reason="one value only (3.5)", value=3.5),)
    np.testing.assert_array_equal(rows_of_table(x, data.schema, "X"), x[:, [0, 2]])
    np.testing.assert_array_equal(data.kind_of_data.render(x[:, [0, 2]], data.schema), x)
    assert Schema.from_json(data.schema.to_json()) == data.schema
    assert Dataset.from_array(x, columns={"1": "drop"}).schema.with_constants(x[:, [0, 2]]).shape == (N, 2)  # as asked
    gaps = np.where(np.arange(N)[:, None] % 9 == 0, np.nan, x)
    filled = filled_table(gaps, x[:, [0, 2]], np.isnan(gaps[:, [0, 2]]), data.schema)
    np.testing.assert_array_equal(filled, x)
    dark = np.column_stack([np.arange(N) % 2, np.zeros(N)])
    assert Dataset.from_array(dark).event_shape == (2,)  # a pixel that is never lit is data


def test_long_tails() -> None:
    rng = np.random.default_rng(0)
    assert long_tailed(np.exp(rng.normal(3, 1, 500)))
    assert not long_tailed(rng.normal(100, 5, 500))
    assert not long_tailed(np.exp(rng.normal(3, 0.1, 5000)))  # the logarithms are more symmetric, but hardly
    assert not long_tailed(rng.exponential(1, 500) - 0.01)


def test_columns_by_position_where_the_fit_had_no_names() -> None:
    x = np.random.default_rng(0).normal(size=(N, 3))
    schema = Dataset.from_array(x).schema
    frame = pandas.DataFrame(x, columns=list("abc"))
    np.testing.assert_array_equal(rows_of_table(frame, schema, "f"), x)
    with pytest.raises(DataError, match="has 2 columns; expected 3"):
        rows_of_table(frame[["a", "b"]], schema, "f")


def test_all_columns_of_one_kind_take_a_plain_likelihood() -> None:
    rng = np.random.default_rng(0)
    table = kind_named("table")
    skewed = np.exp(rng.normal(0, 2, (N, 3)))  # complete and continuous: no likelihood for each column is needed
    for x, expected in (
        (skewed, "normal:scale=per-dimension"),
        (rng.integers(0, 2, (N, 3)), "bernoulli"),
        (np.where(skewed > 9, np.nan, skewed), "mixed:columns=3*positive"),
    ):
        assert table.default_likelihood(Dataset.from_array(x).schema) == expected


def test_one_value_of_text_is_no_column() -> None:
    frame = pandas.DataFrame({"a": np.arange(20) * 1.5, "b": ["same"] * 20})
    schema = Dataset.from_frame(frame).schema
    assert [(item.name, item.reason) for item in schema.left_out] == [("b", "one value only ('same')")]
    assert Overrides().of("a") is None


def test_draws_beyond_the_type_of_a_column_are_not_wrapped() -> None:
    x = np.random.default_rng(0).poisson(20, (N, 2)).astype(np.uint8)
    x[0] = 0
    data = Dataset.from_array(x)
    assert data.kind_of_data.render(np.array([[300.2, 7.0]]), data.schema).tolist() == [[300, 7]]
    assert data.kind_of_data.render(np.array([[1e30, 7.0]]), data.schema).tolist() == [[1e30, 7]]
    frame = Dataset.from_frame(pandas.DataFrame(x, columns=["a", "b"]))
    assert frame.kind_of_data.render(np.array([[300.2, 7.0]]), frame.schema).to_numpy().tolist() == [[300, 7]]
    when = pandas.DataFrame({"when": pandas.date_range("2020-01-01", periods=N, unit="ns"), "x": np.arange(N) / 7})
    dates = Dataset.from_frame(when)
    far = dates.kind_of_data.render(np.array([[1e30, 0.0], [np.nan, 0.0]]), dates.schema)
    assert far["when"].dt.year[0] == 2261
    assert far["when"].isna().tolist() == [False, True]


def test_columns_of_odd_types() -> None:
    """Categories that are dates, dates before 1678, complex numbers, durations: found by random frames."""
    frame = pandas.DataFrame(
        {
            "period": pandas.Categorical(np.resize(pandas.period_range("2020", periods=3, freq="M"), N)),
            "old": pandas.Series(np.datetime64("1500-01-01") + np.arange(N)),
            "complex": np.arange(N) + 1j,
            "span": pandas.to_timedelta(np.arange(N), unit="s"),
            "x": np.arange(N) / 7,
        }
    )
    data = Dataset.from_frame(frame)
    assert {column.name: column.kind for column in data.schema.columns or ()} == {
        "period": "categorical", "old": "date", "x": "continuous"
    }  # fmt: skip
    assert [item.name for item in data.schema.left_out] == ["complex", "span"]
    back = data.kind_of_data.render(rows_of_table(frame, data.schema, "frame"), data.schema)
    assert back["old"].tolist() == frame["old"].tolist()
    assert back["period"].tolist() == [str(value) for value in frame["period"]]


def test_a_column_of_an_array_without_values_is_named() -> None:
    x = np.arange(12.0).reshape(6, 2)
    x[:, 1] = np.nan
    with pytest.raises(DataError, match="column '1' of X holds no values; leave it out"):
        dataset_of(x)


@pytest.mark.parametrize("rate", [3.0, 5.0])
def test_the_kind_of_a_column_does_not_hang_on_one_zero(rate: float) -> None:
    """GridSearchCV: of Poisson(5) some folds hold a 0 and some do not."""
    x = np.random.default_rng(0).poisson(rate, (60, 3)).astype(float)
    folds = [np.delete(x, slice(start, start + 12), axis=0) for start in range(0, 60, 12)]
    frames = [pandas.DataFrame(fold, columns=["a", "b", "c"]) for fold in (*folds, np.maximum(x, 1))]
    for given in (*folds, np.maximum(x, 1), *frames):
        schema = dataset_of(given, hold_out=False).schema
        assert (schema.kind, {c.kind for c in schema.columns or ()}) == ("counts", {"count"})


@pytest.mark.parametrize(
    "values, kind",
    [
        (np.tile([1, 2, 3, 4, 5, 3, 3, 4], 10), "continuous"),  # ratings vary less than counts do
        (np.r_[0, np.tile([65, 70, 75, 80], 20)], "continuous"),  # one 0 among marks is an outlier
        (np.tile([1, 2, 4, 9, 17, 31], 10), "count"),
        (np.tile([0, 1, 2, 2], 10), "ordinal"),  # a count would have gone on
        (np.repeat([0, 1, 2, 3], [60, 40, 15, 4]), "count"),
        (np.tile([1990, 2005, 2020], 10), "continuous"),
    ],
)
def test_which_whole_numbers_are_counts(values: np.ndarray, kind: str) -> None:
    frame = pandas.DataFrame({"it": values, "other": np.random.default_rng(0).normal(size=len(values))})
    columns = dataset_of(frame).schema.columns
    assert columns is not None
    assert columns[0].kind == kind


def test_a_constant_column_of_an_array_of_counts_is_stated() -> None:
    x = np.random.default_rng(0).poisson(2.0, (50, 3))
    x[:, 1] = 4
    schema = dataset_of(x).schema
    assert schema.event_shape == (2,)
    assert "  left out: 1 (one value only (4))" in kind_named(schema.kind).describe(schema)


def test_columns_whose_numbers_are_names() -> None:
    frame = pandas.DataFrame({"size": [1.5, 2.5, 0.5] * 4, "shape": ["heart", "square", "heart"] * 4})
    assert dataset_of(frame).schema.unordered == (1,)


def test_few_values_of_a_continuous_column_are_counted() -> None:
    g = np.random.default_rng(0)
    halves, tenths = (2 * g.normal(size=400)).round() / 2, g.normal(size=400).round(1)
    x = np.stack([halves, tenths, g.normal(size=400)], 1)
    x[::7, 0] = np.nan
    columns = dataset_of(x).schema.columns
    assert columns is not None
    assert [c.distinct for c in columns] == [len(np.unique(halves[np.arange(400) % 7 > 0])), None, None]
    assert any("on few values: 0 (" in line for line in Table().describe(dataset_of(x).schema))
    said = dataset_of(x, overrides=Overrides(columns={"0": "continuous"})).schema.columns
    assert said is not None
    assert said[0].distinct is None
    few_rows = dataset_of(x[:50]).schema.columns
    assert few_rows is not None
    assert few_rows[0].distinct is None


def test_decimal_numbers_are_numbers() -> None:
    amounts = np.random.default_rng(0).gamma(2.0, 10.0, N).round(2)
    frame = pandas.DataFrame({"amount": [Decimal(f"{value:.2f}") for value in amounts], "b": amounts[::-1]})
    data = Dataset.from_frame(frame)
    assert [column.kind for column in data.schema.columns or ()] == ["continuous", "continuous"]
    np.testing.assert_allclose(np.sort(np.concatenate([data.x_train, data.x_test])[:, 0]), np.sort(amounts))


def test_whole_numbers_whose_last_digits_would_be_lost_are_left_out_by_name() -> None:
    nanoseconds = 1_700_000_000_000_000_000 + np.random.default_rng(0).integers(0, 1000, 60)
    frame = pandas.DataFrame({"t": nanoseconds, "far": nanoseconds * np.arange(-30, 30), "x": np.arange(60) * 0.5})
    schema = Dataset.from_frame(frame).schema
    assert [item.name for item in schema.left_out] == ["t"]
    assert "last digits" in schema.left_out[0].reason
    with pytest.raises(DataError, match="subtract the smallest"):
        dataset_of(frame, overrides=Overrides.said(None, {"t": "continuous"}))


@pytest.mark.parametrize(
    "type_, values, kind",
    [
        ("int64", [0, 1, 2, 5], "count"),
        ("uint8", [0, 1, 2, 5], "count"),
        ("float64", [0.5, 1.25, -2.0], "continuous"),
        ("float32", [0.5, 1.25, -2.0], "continuous"),
        ("bool", [True, False], "boolean"),
        ("string", ["u", "v"], "categorical"),
        ("timestamp[us]", [pandas.Timestamp("2024-03-01"), pandas.Timestamp("2024-05-01")], "date"),
        ("Sparse[float64, nan]", [0.5, 1.25, -2.0], "continuous"),
        ("Sparse[int64, 0]", [0, 1, 2, 5], "count"),
    ],
)
def test_columns_of_pyarrow_and_sparse_ones_come_back_in_their_type(type_, values, kind) -> None:
    sparse = type_.startswith("Sparse")
    dtype = pandas.SparseDtype(plain_dtype(type_)) if sparse else pandas.ArrowDtype(pyarrow.type_for_alias(type_))
    cells = (values * N)[:N]
    frame = pandas.DataFrame({"x": np.arange(N) + 0.5, "c": pandas.Series(cells).astype(dtype)})
    schema = dataset_of(frame).schema
    schema = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert [column.kind for column in schema.columns or ()] == ["continuous", kind]
    back = kind_named(schema.kind).render(rows_of_table(frame, schema, "X"), schema)
    pandas.testing.assert_frame_equal(back, frame)
    if not sparse:
        cells[3] = None
        gaps = pandas.DataFrame({"x": frame["x"], "c": pandas.Series(cells, dtype=object).astype(dtype)})
        rows = rows_of_table(gaps, schema, "X")
        assert np.isnan(rows[3, 1])
        assert str(kind_named(schema.kind).render(rows, schema)["c"].dtype) == str(dtype)


@pytest.mark.parametrize(
    "names",
    [
        pandas.MultiIndex.from_tuples([("len", 1), ("len", 2), ("wid", 1)], names=["part", None]),
        pandas.Index([10, 2, 3], name="gene"),
        pandas.Index(["a", 1.5, ("x", "y")], tupleize_cols=False),
        pandas.Index(["a", "b", "'c'"]),
    ],
    ids=["levels", "numbers", "several", "text"],
)
def test_names_of_columns_come_back_as_they_were(names: pandas.Index) -> None:
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(N, 3)).round(3), columns=names)
    dataset = dataset_of(frame, overrides=Overrides.said(None, {names[1]: "continuous"}))
    schema = Schema.from_json(json.loads(json.dumps(dataset.schema.to_json())))
    rows = rows_of_table(frame[frame.columns[::-1]], schema, "the other table")
    pandas.testing.assert_frame_equal(kind_named(schema.kind).render(rows, schema), frame, check_column_type=False)
    labelled = pandas.concat([frame, pandas.DataFrame({"y": np.resize(["u", "v"], N)})], axis=1)
    labelled.columns = pandas.Index([*names, (3, "y")], tupleize_cols=False)
    found = dataset_of(labelled, (3, "y"))
    assert (found.schema.classes, found.schema.label) == (("u", "v"), "(3, 'y')")
    assert rows_under(labelled, found.schema).y is not None


def test_names_that_their_text_does_not_give_back_are_refused() -> None:
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(N, 2)))
    for names in (pandas.to_datetime(["2020-01-01", "2021-01-01"]), [np.nan, "a"]):
        frame.columns = names
        with pytest.raises(DataError, match=r"column whose name is of type (Timestamp|float).*map\(str\)"):
            dataset_of(frame)


def test_numbers_too_small_to_compute_with_are_left_out_by_name() -> None:
    small = np.random.default_rng(0).normal(size=60) * 1e-160
    frame = pandas.DataFrame({"mass": small, "x": np.arange(60) * 0.5, "zero": np.resize([0.0, 1.0], 60)})
    schema = Dataset.from_frame(frame).schema
    assert [item.name for item in schema.left_out] == ["mass"]
    assert "64 bits cannot hold" in schema.left_out[0].reason
    assert [item.name for item in dataset_of(frame.to_numpy()).schema.left_out] == ["0"]
    with pytest.raises(DataError, match=r"'mass' cannot be continuous: .* another unit"):
        dataset_of(frame, overrides=Overrides.said(None, {"mass": "continuous"}))


def test_a_kind_cannot_be_said_of_a_column_without_values() -> None:
    frame = pandas.DataFrame({"gone": [np.nan] * 20, "x": np.arange(20) * 0.5, "y": np.arange(20) ** 2})
    with pytest.raises(DataError, match=r"'gone' of .* cannot be continuous: it holds no values"):
        dataset_of(frame, overrides=Overrides.said(None, {"gone": "continuous"}))
    with pytest.raises(DataError, match=r"column 's' of .* holds no plain numbers"):
        dataset_of(frame.assign(s="a"), overrides=Overrides.said("image", None))


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_cells_of_blanks_are_gaps_as_they_are_in_a_file(dtype: Any, tmp_path: Path) -> None:
    """The same table as a DataFrame and as a file has the same columns and the same rows."""
    ward = pandas.Series(np.resize(["a", "b", " ", "b", ""], N)).astype(dtype)
    dose = pandas.Series(np.resize(["2020-01-31", " ", "2021-02-28"], N), dtype=object)
    frame = pandas.DataFrame({"ward": ward, "seen": dose, "x": RNG.normal(size=N), "none": " "})
    frame.to_csv(tmp_path / "t.csv", index=False)
    of_frame, of_file = dataset_of(frame), read_file(tmp_path / "t.csv")
    assert [(c.name, c.kind, c.categories, c.missing) for c in of_frame.schema.columns] == [
        (c.name, c.kind, c.categories, c.missing) for c in of_file.schema.columns
    ]
    assert [item.reason for item in of_frame.schema.left_out] == ["no values"]
    np.testing.assert_array_equal(of_frame.x_train, of_file.x_train)
    np.testing.assert_array_equal(rows_under(frame, of_frame.schema).x, rows_under(frame, of_file.schema).x)
