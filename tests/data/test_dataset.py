"""The data set: its checksum tells data apart, and its scaling is stated."""

import numpy as np
import pandas
import pytest

from lowerbound.data import DataError, Dataset, read_file
from lowerbound.data.fingerprint import fingerprint
from lowerbound.data.split import num_held_out, split_rows

LEGACY = ["731f1fc7632c9330", "64930dc495378cf1", "ad89a3b08113539f"]


def _build(**changes):
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    arguments = {"name": "d", "kind": "table", "x_train": x[:6], "x_test": x[6:], "source": "here"}
    return Dataset.from_arrays(**(arguments | changes))


def test_fingerprint_is_of_values_shapes_types_and_places():
    x = np.arange(12, dtype=np.uint8)
    same = fingerprint(x.reshape(4, 3), x)
    assert same == fingerprint(x.reshape(4, 3).copy(), x.copy())
    assert len(same) == 64
    changed = x.copy()
    changed[-1] += 1
    others = [
        fingerprint(x.reshape(3, 4), x),
        fingerprint(x.reshape(4, 3), changed),
        fingerprint(changed.reshape(4, 3), x),
        fingerprint(x.reshape(4, 3).astype(np.float32), x),
        fingerprint(x.reshape(4, 3), x, x.astype(np.int64)),
        fingerprint(x.reshape(4, 3), None, x),
        fingerprint(x.reshape(4, 3), x, None),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_fingerprint_of_rows_is_that_of_the_rows_in_memory():
    x = np.random.default_rng(0).normal(size=(20, 3))
    rows = np.array([1, 5, 19])
    assert fingerprint(x, train_rows=rows) == fingerprint(x[rows])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_equal_values_have_equal_checksums(dtype):
    counts = np.random.default_rng(0).poisson(3.0, (40, 4))
    reference = Dataset.from_array(counts.astype(np.float64))
    assert Dataset.from_array(counts.astype(dtype)).checksum == reference.checksum
    assert Dataset.from_array(counts + (np.arange(4) == 2)).checksum != reference.checksum


def test_runs_of_before_know_their_data(tmp_path):
    """The checksums were printed by the version before there were schemas, for the same calls."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(30, 3))
    labels = np.array([1, 2, 5])[rng.integers(0, 3, 30)]
    np.savez(tmp_path / "x.npz", x=x, y=labels)
    np.save(tmp_path / "bytes.npy", rng.integers(0, 256, (30, 4)).astype(np.uint8))
    frame = pandas.DataFrame({"id": np.arange(30), "a": x[:, 0], "kind": np.array(["u", "v"])[labels % 2]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    as_before = {"*": "continuous"}
    found = [
        read_file(tmp_path / "x.npz", columns=as_before),
        read_file(tmp_path / "bytes.npy", columns=as_before),
        read_file(tmp_path / "t.csv", label="kind", columns=as_before),
    ]
    assert [data.legacy_checksum[:16] for data in found] == LEGACY
    assert all(data.legacy_checksum != data.checksum for data in found)


def test_fingerprint_sees_through_the_layout_in_memory():
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert fingerprint(np.moveaxis(x, -1, 1)) == fingerprint(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def test_sizes_and_scaling():
    table = _build()
    assert (table.event_shape, table.num_train, table.num_test) == ((3,), 6, 2)
    assert table.pixel_scale is None
    assert "own units" in table.scaling
    grey = np.arange(32, dtype=np.uint8).reshape(8, 2, 2)
    image = _build(kind="image", x_train=grey[:6], x_test=grey[6:])
    assert image.pixel_scale == 255
    assert "k / 255" in image.scaling
    assert image.event_shape == (2, 2)
    floats = _build(kind="image", x_train=grey[:6] / np.float32(31), x_test=grey[6:] / np.float32(31))
    assert "without rescaling" in floats.scaling


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"x_test": np.zeros((2, 4), np.float32)}, "test part of d has rows of 4 features"),
        ({"x_test": np.full((2, 3), np.inf, np.float32)}, "training part of d holds 6 values that are infinite"),
        ({"x_train": np.ones((5, 3), np.float32)}, "training part of d is constant"),
        ({"y_train": np.zeros(5)}, "the labels of d has shape (5,)"),
        ({"y_train": np.zeros(6), "y_test": np.zeros((2, 1))}, "test labels of d has shape (2, 1)"),
    ],
)
def test_arrays_that_do_not_fit(changes, words):
    with pytest.raises(DataError) as caught:
        _build(**changes)
    assert words in str(caught.value)


def test_split_holds_every_row_once_and_never_changes():
    train, test = split_rows(10, 3)
    assert sorted([*train, *test]) == list(range(10))
    assert test.tolist() == [3, 0, 5]  # numpy's frozen RandomState(0)
    assert [num_held_out(n) for n in (2, 5, 1000, 50_000, 10**7)] == [1, 1, 200, 10_000, 10_000]
