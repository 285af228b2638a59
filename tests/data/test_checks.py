"""Refusals: each is one sentence that names the array and says what was found where."""

import os

import numpy as np
import pytest

from lowerbound.data import checks
from lowerbound.data.checks import DataError, check_counts


def _message(check, *arguments, **named):
    with pytest.raises(DataError) as caught:
        check(*arguments, **named)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def _good():
    return np.arange(12.0).reshape(4, 3)


def test_good_arrays_pass():
    checks.check_array(_good(), "x")
    checks.check_array(np.arange(12, dtype=np.uint8).reshape(4, 3), "x")
    checks.check_features(_good(), (3,), "x")
    checks.check_unit_interval(np.array([[0.0, 1.0]]), "x")
    checks.check_unit_interval(np.array([[0, 255]], dtype=np.uint8), "x")
    checks.check_labels(np.zeros(4), 4, "y")
    checks.check_columns_vary(_good(), "x")


def test_nan_and_infinity_are_counted_and_placed():
    x = _good()
    x[2, 1], x[3, 0] = np.nan, np.inf
    assert (
        "2 values that are NaN or infinite (or beyond 3e38, which float32 cannot hold); the first is at row 2"
        in _message(checks.check_array, x, "x")
    )
    assert "column 'b'" in _message(checks.check_finite, x, "x", ("a", "b", "c"))
    images = np.zeros((3, 2, 2))
    images[1, 0, 1] = -np.inf
    assert "the first is at index (1, 0, 1): remove" in _message(checks.check_finite, images, "x")


def test_values_too_large_for_float32_are_infinite():
    assert "row 1, column 0" in _message(checks.check_array, np.array([[1.0], [1e300]]), "x")


def test_the_first_bad_value_is_found_in_a_later_block(tmp_path, monkeypatch):
    x = np.zeros((100, 3), dtype=np.float32)
    x[73, 2] = x[90, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    blocks = checks.row_blocks
    seen = []

    def small(array, rows=None):
        for start, block in blocks(array, rows, block_bytes=120):
            seen.append(len(block))
            yield start, block

    monkeypatch.setattr(checks, "row_blocks", small)
    assert "the first is at row 73, column 2:" in _message(checks.check_finite, mapped, "x")
    assert max(seen) == 10


@pytest.mark.parametrize(
    "x, words",
    [
        (np.full((4, 3), 0.1, dtype=np.float32), "constant (every value is 0.1)"),
        (np.full((4, 3), 0.1), "constant (every value is 0.1)"),
        (np.zeros((4, 3), dtype=np.uint8), "constant (every value is 0)"),
        (np.zeros((0, 3)), "is empty (shape (0, 3))"),
        (np.zeros((3, 0)), "is empty (shape (3, 0))"),
        (np.array(3.0), "is empty (shape ())"),
        (np.zeros((1, 3)), "holds one row"),
        (np.array([{}, {}]), "holds Python objects"),
        (np.array(["a", "b"]), "has type <U1"),
        (np.array([1j, 2]), "has type complex128"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
    ],
)
def test_arrays_with_nothing_to_learn_from(x, words):
    message = _message(checks.check_array, x, "array 'x' of f.npz")
    assert message.startswith("array 'x' of f.npz ")
    assert words in message


def test_wrong_number_of_features():
    message = _message(checks.check_features, _good(), (5,), "new data")
    assert "new data has rows of 3 features; expected rows of 5 features" in message
    message = _message(checks.check_features, np.zeros((2, 8, 8)), (28, 28), "new data")
    assert "rows of shape (8, 8); expected rows of shape (28, 28)" in message


def test_values_outside_the_unit_interval():
    message = _message(checks.check_unit_interval, np.array([[0.5, -1.0], [3.5, 0]]), "x")
    assert "values from -1 to 3.5" in message
    _message(checks.check_unit_interval, np.array([[np.nan]]), "x")


def test_constant_columns_among_the_given_rows():
    x = _good()
    x[:3, 1] = 7
    checks.check_columns_vary(x, "x")
    assert "1 constant column (1)" in _message(checks.check_columns_vary, x, "x", rows=np.array([0, 1, 2]))
    many = np.zeros((3, 8))
    assert "8 constant columns (0, 1, 2, 3, 4, ...)" in _message(checks.check_columns_vary, many, "x")


def test_unknown_column_lists_the_nearest():
    message = _message(checks.check_column, "specie", ["island", "species", "sex"], "f.csv")
    assert message == "f.csv has no 'specie'; the nearest of its 3 names: 'species'."
    assert "none" in _message(checks.check_column, "y", [], "f.csv")


def test_labels_of_the_wrong_length():
    assert "shape (3,); expected one label for each of the 4 rows" in _message(checks.check_labels, np.zeros(3), 4, "y")


def test_missing_and_unreadable_files(tmp_path):
    assert "no file" in _message(checks.check_path, tmp_path / "none.npy")
    checks.check_path(tmp_path)
    there = tmp_path / "there.npy"
    there.write_bytes(b"x")
    checks.check_path(there)


def test_what_is_no_file_is_refused_and_never_opened(tmp_path):
    """A pipe would wait for ever; a loop of links and a name that is too long raise what the caller does not expect."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "a.csv").symlink_to(tmp_path / "b.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    assert "neither a file nor a folder" in _message(checks.check_path, tmp_path / "pipe.csv")
    assert "too many levels of symbolic links" in _message(checks.check_path, tmp_path / "a.csv")
    long = _message(checks.check_path, tmp_path / ("n" * 300))
    assert "file name too long" in long
    assert len(long) < 300
    assert "not a name of a file" in _message(checks.check_path, tmp_path / "zero\0byte")


def test_a_file_without_permission(tmp_path, monkeypatch):
    closed = tmp_path / "closed.npy"
    closed.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    assert "cannot be read" in _message(checks.check_path, closed)


@pytest.mark.parametrize("bad", [-1.0, 0.5])
def test_a_likelihood_of_counts_refuses_what_is_no_count(bad):
    check_counts(np.array([[0.0], [3.0]]), "counts")
    with pytest.raises(DataError, match=f"holds {bad:g}; a likelihood of counts expects 0, 1, 2"):
        check_counts(np.array([[0.0], [bad]]), "counts")
