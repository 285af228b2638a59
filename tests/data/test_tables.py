"""Reading tables: numbers, labels, and the place of whatever is not a number."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from lowerbound.data import DataError, read_file

FOLDER = os.environ.get("LOWERBOUND_DATA", "")


def _frame(num_rows=20):
    x = np.random.default_rng(0).normal(size=num_rows)
    return pandas.DataFrame({"a": x, "b": np.arange(num_rows), "kind": ["u", "v"] * (num_rows // 2), "c": x > 0})


def _refusal(path, **named):
    with pytest.raises(DataError) as caught:
        read_file(path, **named)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_formats_agree(tmp_path, suffix):
    frame = _frame()
    path = tmp_path / f"t{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    data = read_file(path, label="kind")
    assert data.feature_names == ("a", "b", "c")
    assert (data.kind, data.event_shape, data.num_train, data.num_test) == ("table", (3,), 16, 4)
    assert data.label_names == ("u", "v")
    assert data.y_train is not None
    rows = data.x_train[:, 1].astype(int)
    assert np.array_equal(data.y_train, rows % 2)
    np.testing.assert_array_equal(data.x_train[:, 0], frame.a.to_numpy()[rows].astype(np.float32))
    np.testing.assert_array_equal(data.x_train[:, 2], frame.a.to_numpy()[rows] > 0)


def test_numeric_labels(tmp_path):
    _frame().to_csv(tmp_path / "t.csv", index=False)
    message = _refusal(tmp_path / "t.csv", label="b")
    assert "column 'kind' of t.csv is not numeric: it holds 'u' at row 0" in message
    _frame().drop(columns="kind").to_csv(tmp_path / "t.csv", index=False)
    data = read_file(tmp_path / "t.csv", label="b")
    assert data.y_train is not None
    assert data.y_train.dtype == np.int64
    assert data.label_names is None


def test_text_among_numbers_is_placed(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n5,six\n7,seven\n")
    message = _refusal(tmp_path / "t.csv")
    assert "column 'b' of t.csv is not numeric: it holds 'six' at row 2" in message


def test_missing_value_is_placed(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,\n5,6\n")
    assert "t.csv holds 1 NaN or infinite value, the first at row 1, column 'b'" in _refusal(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,kind\n1,u\n2,\n3,v\n")
    assert "1 missing or unusable labels, the first at row 1" in _refusal(tmp_path / "t.csv", label="kind")
    (tmp_path / "t.csv").write_text("a,k\n1,1\n2,\n3,2\n")
    assert "the first at row 1" in _refusal(tmp_path / "t.csv", label="k")


def test_nullable_columns(tmp_path):
    frame = pandas.DataFrame({"a": pandas.array([1, None, 3], dtype="Int64"), "b": [1.0, 2, 3]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert "row 1, column 'a'" in _refusal(tmp_path / "t.parquet")


def test_dates_are_not_numbers(tmp_path):
    frame = pandas.DataFrame({"a": [1, 2], "day": pandas.to_datetime(["2020-01-01", "2020-01-02"])})
    frame.to_parquet(tmp_path / "t.parquet")
    assert "column 'day' of t.parquet is not numeric: it holds '2020-01-01" in _refusal(tmp_path / "t.parquet")


def test_headers(tmp_path):
    (tmp_path / "t.csv").write_text("1.5,2\n3,4\n5,6\n")
    assert "first line of t.csv holds numbers" in _refusal(tmp_path / "t.csv")
    pandas.DataFrame(np.eye(5)).to_csv(tmp_path / "t.csv", index=False)
    assert read_file(tmp_path / "t.csv").feature_names == ("0", "1", "2", "3", "4")
    pandas.DataFrame(np.eye(5)).to_csv(tmp_path / "t.csv")
    assert "column 0 of t.csv has no name" in _refusal(tmp_path / "t.csv")


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


def test_without_pandas(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert "needs pandas and pyarrow: pip install 'lowerbound[tables]'" in _refusal(tmp_path / "t.csv")


def test_real_tables_are_refused_where_they_have_text():
    path = Path(FOLDER) / "penguins.csv.gz"
    if not (FOLDER and path.is_file()):
        pytest.skip("LOWERBOUND_DATA holds no penguins.csv.gz")
    message = _refusal(path, label="species")
    assert "column 'island' of penguins.csv.gz is not numeric: it holds 'Torgersen' at row 0" in message
