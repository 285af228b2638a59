"""Reading tables: what is a row, a column, a number; whatever cannot be told is refused with its place."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from lowerbound.data import DataError, checks, read_file, read_rows
from lowerbound.data.given import dataset_of
from lowerbound.data.kinds import kind_named
from lowerbound.data.overrides import Overrides
from lowerbound.data.tables import read_table

FOLDER = os.environ.get("LOWERBOUND_DATA", "")


def _frame(num_rows=20):
    x = np.random.default_rng(0).normal(size=num_rows)
    tens = 10.0 * np.arange(num_rows)
    return pandas.DataFrame({"a": x, "b": tens, "kind": ["u", "v"] * (num_rows // 2), "c": x > 0})


def _refusal(path, **named):
    with pytest.raises(DataError) as caught:
        read_file(path, **named)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_formats_agree(tmp_path, suffix):
    frame = _frame()
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    data = read_file(path, label="kind")
    assert data.feature_names == ("a", "b", "c")
    assert (data.kind, data.event_shape, data.num_train, data.num_test) == ("table", (3,), 16, 4)
    assert data.label_names == ("u", "v")
    assert data.y_train is not None
    rows = (data.x_train[:, 1] / 10).astype(int)
    assert np.array_equal(data.y_train, rows % 2)
    np.testing.assert_array_equal(data.x_train[:, 0], frame.a.to_numpy()[rows])
    np.testing.assert_array_equal(data.x_train[:, 2], frame.a.to_numpy()[rows] > 0)


def test_rows_wider_than_the_names_are_refused(tmp_path):
    """pandas takes the first column for an index then, and shifts the names by one."""
    (tmp_path / "t.csv").write_text("a,b\n1,2,3\n4,5,6\n7,8,9\n")
    assert "row 0 of t.csv has 3 cells and its first line 2 names" in _refusal(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,5\n7,8,9\n")
    assert "row 1 of t.csv has 2 cells and its first line 3 names" in _refusal(tmp_path / "t.csv")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_other_delimiters_and_decimal_commas(tmp_path, delimiter, decimal):
    _frame().to_csv(tmp_path / "t.csv", index=False, sep=delimiter, decimal=decimal)
    _frame().to_csv(tmp_path / "plain.csv", index=False)
    assert read_file(tmp_path / "t.csv").checksum == read_file(tmp_path / "plain.csv").checksum


def test_points_between_thousands_are_told_by_a_decimal_comma(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1.234,5;1,5\n2.345,25;2,5\n3,5;4,0\n")
    data = read_file(tmp_path / "t.csv")
    assert sorted([*data.x_train[:, 0], *data.x_test[:, 0]]) == [3.5, 1234.5, 2345.25]


@pytest.mark.parametrize(
    "content",
    [
        'a,b\n"1,5",2\n"2,5",3\n"3,5",5\n',  # a decimal comma between quotes, where commas separate
        "a;b\n1,500;2\n2,250;3\n3,125;4\n",  # thousands, or three decimals
        "a;b\n1,5;2.5\n2,5;3.5\n3,5;4.5\n",  # both marks
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_refused(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    assert "which can be read in two ways" in _refusal(tmp_path / "t.csv")


def test_numeric_labels(tmp_path):
    _frame().drop(columns="kind").to_csv(tmp_path / "t.csv", index=False)
    data = read_file(tmp_path / "t.csv", label="b")
    assert data.y_train is not None
    assert data.y_train.dtype == np.int64
    assert data.label_names == tuple(str(10 * i) for i in range(20))


def test_text_among_numbers_is_placed(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n5,six\n7,8\n")
    assert "column 'b' of t.csv holds 'six' at row 2 among numbers" in _refusal(tmp_path / "t.csv")
    said = read_file(tmp_path / "t.csv", columns={"b": "categorical"})
    assert said.schema.columns is not None
    assert said.schema.columns[1].categories == ("2", "4", "8", "six")
    (tmp_path / "t.csv").write_text("a;b\n1,5;2,5\n3,25;-\n2,5;1,5\n")
    assert "column 'b' of t.csv holds '-' at row 1 among numbers" in _refusal(tmp_path / "t.csv")


def test_gaps_stay_gaps(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,u\n3.5,,v\n5,6,\n0.5,7,u\n")
    data = read_file(tmp_path / "t.csv", label="kind")
    rows = np.concatenate([data.x_train, data.x_test])
    assert np.isnan(rows).sum() == 1
    assert np.isnan(rows[rows[:, 0] == 3.5, 1]).all()
    labels = np.concatenate([data.y_train, data.y_test])  # type: ignore[list-item]
    assert labels[rows[:, 0] == 5] == -1
    assert sorted(labels) == [-1, 0, 0, 1]
    (tmp_path / "t.csv").write_text("a,k\n1,1.5\n2,\n3,2\n")
    assert "1 missing or unusable labels, the first at row 1" in _refusal(tmp_path / "t.csv", label="k")


def test_infinity_is_placed(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,inf\n5,6\n")
    assert (
        "1 value that is infinite (or beyond 3e38, which float32 cannot hold); the first is at row 1, column 'b'"
        in _refusal(tmp_path / "t.csv")
    )


@pytest.mark.parametrize(
    "rows, what",
    [([7, 2, 30, 4, 11, 0], "numbers"), ([0, 1, 2, 0, 1, 2], "numbers"), (["u", "v", "w", "x", "y", "z"], "names")],
    ids=["a part of a table", "tables below one another", "names of rows"],
)
def test_an_index_without_a_name_is_left_out(tmp_path, rows, what):
    pandas.DataFrame({"a": [1.5, 2.5, 4.0, 3.0, 9.0, 7.0], "b": [3.5, 3, 4, 8, 1, 2]}, index=rows).to_csv(
        tmp_path / "t.csv"
    )
    data = read_file(tmp_path / "t.csv")
    assert data.feature_names == ("a", "b")
    assert data.notes == (f"The first column of t.csv has no name and {what} its rows; it was left out.",)
    frame = pandas.read_csv(tmp_path / "t.csv")
    frame.to_parquet(tmp_path / "t.parquet")
    for other in (dataset_of(frame), read_file(tmp_path / "t.parquet")):
        assert other.feature_names == ("a", "b")
        assert [(left.name, left.reason) for left in other.schema.left_out] == [
            ("Unnamed: 0", f"it has no name and {what} the rows")
        ]
    named = dataset_of(frame, overrides=Overrides(columns={"Unnamed: 0": "categorical"}))
    assert named.feature_names == ("Unnamed: 0", "a", "b")


def test_an_index_without_a_name_is_no_channel_of_series():
    steps = pandas.DataFrame({"Unnamed: 0": np.arange(8)[::-1], "of": np.arange(8) // 2, "v": np.arange(8.0) ** 2})
    assert dataset_of(steps, overrides=Overrides(series="of")).schema.series.channels == ("v",)
    of_index = steps[["of", "v"]].rename(columns={"of": "Unnamed: 0"})
    assert dataset_of(of_index, overrides=Overrides(series="Unnamed: 0")).schema.series.channels == ("v",)


def test_a_table_of_another_encoding_is_to_be_saved_as_utf_8(tmp_path):
    for encoding in ("latin-1", "utf-16"):
        (tmp_path / "t.csv").write_text("größe,a\n1,2\n3,5\n5,6\n", encoding=encoding)
        assert _refusal(tmp_path / "t.csv").endswith(": save it as UTF-8.")


def test_headers(tmp_path):
    (tmp_path / "t.csv").write_text("1.5,2\n3,4\n5,6\n")
    assert "first line of t.csv holds numbers" in _refusal(tmp_path / "t.csv")
    pandas.DataFrame(np.eye(5)).to_csv(tmp_path / "t.csv", index=False)
    assert read_file(tmp_path / "t.csv").feature_names == ("0", "1", "2", "3", "4")
    pandas.DataFrame(np.eye(5)).to_csv(tmp_path / "t.csv")  # with a row index
    data = read_file(tmp_path / "t.csv")
    assert data.feature_names == ("0", "1", "2", "3", "4")
    assert data.notes == ("The first column of t.csv has no name and numbers its rows; it was left out.",)
    for header, row in (("a,", "1,2\n3,5\n5,6\n"), (",a", "1.5,2\n3,5\n5,6\n"), (",a", "u,2\nv,5\nu,6\n")):
        (tmp_path / "t.csv").write_text(f"{header}\n{row}")
        assert f"column {int(header == 'a,')} of t.csv has no name" in _refusal(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b,a\n1,2,3\n3,4,5\n")
    assert "t.csv has two columns named 'a'" in _refusal(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_too_many_columns_are_refused_before_any_is_read(tmp_path, monkeypatch, name):
    frame = pandas.DataFrame(np.eye(7), columns=[f"c{i}" for i in range(7)])
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    assert read_file(path).event_shape == (7,)
    monkeypatch.setattr(checks, "MOST_COLUMNS", 6)
    monkeypatch.setattr(pandas, "read_csv", None)
    monkeypatch.setattr(pandas, "read_parquet", None)
    said = _refusal(path)
    assert said.startswith(f"{name} has 7 columns and a table at most 6")
    assert "save the numbers as an .npy file and say kind='array'" in said


def test_a_first_line_of_a_million_names(tmp_path):
    names = ",".join(f"c{i}" for i in range(1_000_000))
    (tmp_path / "t.csv").write_text(f"{names}\n" + ",".join("1" * 1_000_000) + "\n")
    assert "t.csv has 1,000,000 columns and a table at most 100,000" in _refusal(tmp_path / "t.csv")


def test_label_that_is_not_there(tmp_path):
    _frame().to_csv(tmp_path / "t.csv", index=False)
    assert "t.csv has no 'kinds'; the nearest of its 4 names: 'kind'" in _refusal(tmp_path / "t.csv", label="kinds")


@pytest.mark.parametrize("content", ["", "a,b\n", 'a,b\n"1,2\n'])
def test_empty_and_broken_csv(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    _refusal(tmp_path / "t.csv")


def test_only_a_label(tmp_path):
    (tmp_path / "t.csv").write_text("y\n1\n2\n")
    assert "is empty" in _refusal(tmp_path / "t.csv", label="y")


def test_cut_and_altered_files(tmp_path):
    whole = gzip.compress(_frame(2000).to_csv(index=False).encode())
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "not a readable table" in _refusal(tmp_path / "t.csv.gz", label="kind")
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip at all")
    assert "not a readable table" in _refusal(tmp_path / "t.csv.gz")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not parquet PAR1")
    assert "not a readable table" in _refusal(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "not a readable table" in _refusal(tmp_path / "t.csv")


def test_parquet_with_broken_metadata(tmp_path):
    """What pandas wrote beside the columns is JSON that it trusts."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"a": [1.0, 2.0, 4.0]})
    for metadata in (
        b"{",
        b"[]",
        b'{"index_columns": [5], "columns": 3}',
        b'{"index_columns": ["gone"], "columns": []}',
    ):
        pyarrow.parquet.write_table(table.replace_schema_metadata({b"pandas": metadata}), tmp_path / "t.parquet")
        try:
            read_file(tmp_path / "t.parquet")
        except DataError as error:
            assert "not a readable table" in str(error)  # noqa: PT017


def test_without_pandas(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert "needs pandas and pyarrow: pip install 'lowerbound[tables]'" in _refusal(tmp_path / "t.csv")


def test_other_tables_are_matched_by_name(tmp_path):
    frame = _frame()
    frame.to_csv(tmp_path / "t.csv", index=False)
    schema = read_file(tmp_path / "t.csv", label="kind").schema
    swapped = frame.iloc[3:9][["c", "kind", "b", "a"]].assign(more=1)
    swapped.to_parquet(tmp_path / "other.parquet")
    rows = read_rows(tmp_path / "other.parquet", schema)
    np.testing.assert_array_equal(rows.x, frame.iloc[3:9][["a", "b", "c"]].to_numpy(dtype=float))
    assert rows.y is not None
    assert rows.y.tolist() == [1, 0, 1, 0, 1, 0]
    frame.iloc[:1].to_csv(tmp_path / "one.csv", index=False)
    assert read_rows(tmp_path / "one.csv", schema).x.shape == (1, 3)
    frame.rename(columns={"a": "A"}).to_csv(tmp_path / "renamed.csv", index=False)
    with pytest.raises(DataError, match=r"lacks 1 of the 3 columns of the model \('a'\); of its own it has 'A'"):
        read_rows(tmp_path / "renamed.csv", schema)


def test_real_tables():
    path = Path(FOLDER) / "penguins.csv.gz"
    if not (FOLDER and path.is_file()):
        pytest.skip("LOWERBOUND_DATA holds no penguins.csv.gz")
    data = read_file(path, label="species")
    assert data.default_likelihood == "mixed:columns=categorical-3+4*continuous+categorical-2"
    assert data.schema.columns is not None
    assert [column.missing for column in data.schema.columns] == [0, 2, 2, 2, 2, 11]
    assert data.label_names == ("Adelie", "Chinstrap", "Gentoo")


def test_numbers_with_zeros_in_front_are_codes(tmp_path):
    codes = [f"{k % 7:05d}" for k in range(60)]
    pandas.DataFrame({"zip": codes, "a": np.arange(60) / 7, "k": ["02", "2"] * 30}).to_csv(
        tmp_path / "t.csv", index=False
    )
    data = read_file(tmp_path / "t.csv", label="k")
    column = (data.schema.columns or ())[0]
    assert (column.kind, column.categories) == ("categorical", tuple(sorted(set(codes))))
    assert set(data.kind_of_data.render(data.x_test, data.schema)["zip"]) <= set(codes)
    assert data.label_names == ("02", "2")


@pytest.mark.parametrize("kind", ["count", "continuous"])
def test_codes_that_are_said_to_be_numbers_are(tmp_path, kind):
    months = np.arange(60) % 12 + 1
    frame = pandas.DataFrame({"month": [f"{month:02d}" for month in months], "a": np.arange(60) / 7})
    frame.to_csv(tmp_path / "t.csv", index=False)
    schema = read_file(tmp_path / "t.csv", overrides=Overrides(columns={"month": kind})).schema
    rows = read_rows(tmp_path / "t.csv", schema).x
    np.testing.assert_array_equal(rows[:, 0], months)
    np.testing.assert_array_equal(kind_named("table").render(rows, schema)["month"].astype(float), months)


def test_an_index_of_a_parquet_file_is_said_to_be_left_out(tmp_path):
    frame = pandas.DataFrame({"id": np.arange(20) * 1.5, "x": np.arange(20) ** 2.0, "z": np.arange(20) ** 1.5})
    frame.set_index("id").to_parquet(tmp_path / "x.parquet")
    found = read_table(tmp_path / "x.parquet", None)
    assert list(found.x.columns) == ["x", "z"]
    assert found.notes == ("The index of x.parquet ('id') names its rows; it was left out.",)
    frame.to_parquet(tmp_path / "y.parquet")
    assert read_table(tmp_path / "y.parquet", None).notes == ()
