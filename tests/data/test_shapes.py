"""The generated pictures: every combination once, none like another, and their factors can be read off."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lowerbound import data
from lowerbound.data.shapes import FACTORS, shapes


@pytest.fixture(scope="module")
def made():
    return shapes()


@pytest.fixture(scope="module")
def loaded():
    return data.load("shapes")


def test_every_combination_once_and_no_two_alike(made):
    assert made.images.shape == (7200, 32, 32)
    assert made.images.dtype == np.uint8
    assert set(np.unique(made.images)) == {0, 255}
    assert len(np.unique(made.factors, axis=0)) == 7200
    assert made.factors.max(0).tolist() == [2, 3, 5, 9, 9]
    assert len(np.unique(made.images.reshape(7200, -1), axis=0)) == 7200


def test_factors_can_be_read_off(made):
    on = made.images / 255
    area = on.sum((1, 2))
    column, row = (on.sum(axis) @ np.arange(32) / area for axis in (1, 2))
    of = {name: made.factors[:, k] for k, name in enumerate(FACTORS)}
    assert np.corrcoef(column, of["x"])[0, 1] > 0.99  # to the right
    assert np.corrcoef(row, of["y"])[0, 1] < -0.98  # upwards; a heart is not centred on its middle
    for kind in range(3):
        areas = [area[(of["shape"] == kind) & (of["size"] == size)].mean() for size in range(4)]
        assert all(small * 1.1 < large for small, large in itertools.pairwise(areas))
    # An ellipse turned by θ has its long axis at θ.
    for place in np.flatnonzero((of["shape"] == 1) & (of["size"] == 3) & (of["x"] == 4) & (of["y"] == 4)):
        rows, columns = np.nonzero(on[place])
        (xx, xy), (_, yy) = np.cov(columns, -rows)
        assert abs(0.5 * np.arctan2(2 * xy, xx - yy) - of["rotation"][place] * np.pi / 12) < 0.1


def test_a_named_data_set_with_the_shape_as_label(made, loaded):
    known = data.entry("shapes")
    assert (loaded.num_train, loaded.num_test, loaded.event_shape) == (6000, 1200, (32, 32))
    assert (known.num_train, known.num_test, known.event_shape) == (6000, 1200, (32, 32))
    assert loaded.label_names == ("square", "ellipse", "heart")
    train, test = made.split(known.num_test)
    for part, x, y in ((train, loaded.x_train, loaded.y_train), (test, loaded.x_test, loaded.y_test)):
        assert np.array_equal(part.images, x)
        assert np.array_equal(part.factors[:, 0], y)


def test_frozen(loaded):
    assert loaded.checksum == "4cd31cf65a888a0604157a37bc8d319ad6eca586b03567efbd16a59e917165ba"
