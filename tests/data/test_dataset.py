"""The data set: its checksum tells data apart, and its scaling is stated."""

import numpy as np
import pytest

from lowerbound.data import DataError, Dataset
from lowerbound.data.dataset import fingerprint
from lowerbound.data.split import num_held_out, split_rows


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
        fingerprint(x.reshape(4, 3), x.astype(np.int64)),
        fingerprint(x.reshape(4, 3).astype(np.float32), x),
        fingerprint(x.reshape(4, 3), None, x),
        fingerprint(x.reshape(4, 3), x, None),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_fingerprint_of_rows_is_that_of_the_rows_in_memory():
    x = np.random.default_rng(0).normal(size=(20, 3))
    rows = np.array([1, 5, 19])
    assert fingerprint(x, train_rows=rows) == fingerprint(x[rows].astype(np.float32))


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
        ({"x_test": np.zeros((0, 3), np.float32)}, "test part of d is empty"),
        ({"x_test": np.full((2, 3), np.nan, np.float32)}, "test part of d holds 6 NaN"),
        ({"x_test": np.zeros((2, 3))}, "test part of d has type float64; expected float32"),
        ({"x_train": np.eye(3)}, "training part of d has type float64"),
        ({"x_train": np.ones((5, 3), np.float32)}, "training part of d is constant"),
        ({"y_train": np.zeros(5)}, "training labels of d has shape (5,)"),
        ({"y_test": np.zeros((2, 1))}, "test labels of d has shape (2, 1)"),
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
