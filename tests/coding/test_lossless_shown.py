"""Rows that do not look like those of the fit come back as they are, or are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lowerbound as lb
from lowerbound.data import DataError

G = np.random.default_rng(0)
SMALL = {"recipe": "vae", "steps": 3, "device": "cpu"}


@pytest.mark.parametrize("there", ["array", "frame"])
@pytest.mark.parametrize("shift", [0.5, 1 / 3])
def test_numbers_of_more_digits_than_in_the_fit_come_back(there, shift, tmp_path):
    """Fits round what they draw; a fit of whole numbers and of tenths gave back 58 where 57.5 was."""
    x = np.stack([G.integers(-9, 90, 40).astype(float), np.round(G.normal(size=40), 1)], 1)
    fitted = lb.fit(x if there == "array" else pd.DataFrame({"a": x[:, 0].astype(int), "b": x[:, 1]}), **SMALL)
    more = x[:9] + shift if there == "array" else pd.DataFrame(x[:9] + shift, columns=["a", "b"])
    fitted.compress(more, tmp_path / "x.lb")
    back = fitted.decompress(tmp_path / "x.lb")
    assert np.asarray(back).tobytes() == np.asarray(more).tobytes()


def test_more_digits_of_steps_of_series_come_back(tmp_path):
    steps = pd.DataFrame({"s": np.repeat(np.arange(20), 5), "v": np.round(G.normal(size=100), 1)})
    fitted = lb.fit(steps, "hidden-markov", series="s", device="cpu")
    more = steps.assign(v=steps["v"] + 1 / 3)
    fitted.compress(more, tmp_path / "x.lb")
    assert fitted.decompress(tmp_path / "x.lb")["v"].tolist() == more["v"].tolist()


def test_numbers_of_a_wider_type_than_in_the_fit_come_back(tmp_path):
    x = G.normal(size=(40, 2))
    fitted = lb.fit(x.astype("float32"), **SMALL)
    fitted.compress(x, tmp_path / "x.lb")
    assert fitted.decompress(tmp_path / "x.lb").tobytes() == x.tobytes()


def test_an_array_with_gaps_keeps_its_type(tmp_path):
    x = G.normal(size=(40, 3)).astype("float32")
    x[3, 1] = np.nan
    fitted = lb.fit(x, **SMALL)
    fitted.compress(x, tmp_path / "x.lb")
    back = fitted.decompress(tmp_path / "x.lb")
    assert back.dtype == x.dtype
    assert np.array_equal(back, x, equal_nan=True)


@pytest.mark.parametrize("there", ["array", "frame"])
def test_whole_numbers_of_more_than_53_bits_are_refused(there, tmp_path):
    x = np.stack([2**59 + G.integers(0, 2**58, 40) * 2 + 1, G.integers(-9, 9, 40)], 1)
    data = x if there == "array" else pd.DataFrame(x, columns=["a", "b"])
    fitted = lb.fit(data, **SMALL)
    with pytest.raises(DataError, match="would come back as"):
        fitted.compress(data, tmp_path / "x.lb")
    assert not (tmp_path / "x.lb").exists()


def test_another_constant_than_that_of_the_fit_is_refused(tmp_path):
    x = np.concatenate([np.full((40, 1), 0.5), np.round(G.normal(size=(40, 2)), 1)], 1)
    fitted = lb.fit(x, **SMALL)
    fitted.compress(x, tmp_path / "x.lb")
    assert fitted.decompress(tmp_path / "x.lb").tobytes() == x.tobytes()
    fitted.compress(x[:, 1:], tmp_path / "kept.lb")
    with pytest.raises(DataError, match=r"column '0' holds 1\.5 at row 0 and would come back as 0\.5"):
        fitted.compress(x + 1, tmp_path / "other.lb")


@pytest.mark.parametrize("gap", [False, True])
def test_a_long_tailed_column_has_numbers_near_zero(gap, tmp_path):
    """A cell with 0 as its middle has no logarithm."""
    g = np.random.default_rng(0)
    x = np.stack([np.exp(g.normal(size=80) * 8), np.exp(g.normal(size=80) * 8), g.normal(size=80)], 1)
    x[3:5, 2] = np.nan if gap else 0.0
    fitted = lb.fit(x, device="cpu")
    fitted.compress(x, tmp_path / "x.lb")
    assert fitted.decompress(tmp_path / "x.lb").tobytes() == x.tobytes()
