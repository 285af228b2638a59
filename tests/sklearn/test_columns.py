from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lowerbound.sklearn.columns import Columns


def test_a_column_far_from_zero_keeps_its_variation() -> None:
    """Time stamps: float32 near 1.7e9 has a spacing of 128."""
    seconds = 1.7e9 + np.random.default_rng(0).normal(size=(1000, 1))
    x = Columns.measured(seconds).apply(seconds)
    assert x.dtype == np.float32
    assert len(np.unique(x)) > 900
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-3)


def test_undo_is_the_inverse_of_apply() -> None:
    X = np.random.default_rng(0).normal([3, -50], [0.1, 20], size=(100, 2))
    columns = Columns.measured(X)
    np.testing.assert_allclose(columns.undo(columns.apply(X)), X, rtol=1e-5)


def test_log_scale_turns_a_density_of_x_into_one_of_X() -> None:
    X = np.random.default_rng(0).normal([3, -50], [0.1, 20], size=(100, 2))
    columns = Columns.measured(X)
    of_x = norm.logpdf((X - columns.mean) / columns.scale).sum(1)
    of_X = norm.logpdf(X, columns.mean, columns.scale).sum(1)
    np.testing.assert_allclose(of_x - columns.log_scale, of_X)


def test_columns_as_they_are_change_nothing() -> None:
    X = np.random.default_rng(0).normal(size=(5, 2))
    columns = Columns.as_they_are(2)
    np.testing.assert_array_equal(columns.apply(X), X.astype(np.float32))
    assert columns.log_scale == 0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -1e-30])
def test_a_constant_column_is_refused_by_name(value: float) -> None:
    X = np.column_stack([np.arange(7.0), np.full(7, value)])
    with pytest.raises(ValueError, match="'height'"):
        Columns.measured(X, ["width", "height"])
    with pytest.raises(ValueError, match=r"constant column\(s\) \(1\)"):
        Columns.measured(X)
