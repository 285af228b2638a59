"""Rows of every kind of data come back from their file to the last bit; any other file is refused in one sentence."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lowerbound as lb

SMALL: dict[str, Any] = {"latent_dim": 2, "hidden": [4], "steps": 3, "num_samples": 2, "device": "cpu"}
G = np.random.default_rng(0)
N = 120
BYTES = G.integers(0, 256, (N, 4, 4), dtype=np.uint8)
COLOUR = BYTES.reshape(N // 4, 4, 4, 4)[..., :3]
BITS = (255 * G.integers(0, 2, (N, 4, 4))).astype(np.uint8)
BITS[0, 0, 0] = 255


def people() -> pd.DataFrame:
    frame = pd.DataFrame({
        "sex": np.array(["female", "male", "x, \"y\""], dtype=object)[G.integers(3, size=N)],
        "height": G.normal(170, 9, N).round(1),
        "visits": G.poisson(4, N),
        "born": pd.to_datetime(G.integers(0, 9000, N), unit="D"),
        "well": G.random(N) < 0.5,
    })  # fmt: skip
    frame.loc[::9, "sex"] = None
    frame.loc[::7, "height"] = np.nan
    return frame


DATA: dict[str, tuple[Any, dict[str, Any]]] = {
    "levels": (BYTES, {"likelihood": "discretized-logistic"}),
    "bits": (BITS, {}),
    "colour": (
        BYTES.reshape(N // 4, 4, 4, 4)[..., :3],
        {"likelihood": "discretized-logistic-mixture:num_components=2"},
    ),
    "counts": (G.poisson([2, 0.5, 40], (N, 3)), {}),
    "decimals": (G.normal(size=(N, 3)).round(2), {}),
    "people": (people(), {}),
    "zeros and ones": (G.integers(0, 2, (N, 5)), {}),
}


@functools.cache
def model_of(name):
    data, options = DATA[name]
    return lb.fit(data, **{**SMALL, **options})


@pytest.mark.parametrize("name", DATA)
def test_rows_come_back_in_the_users_form(name, tmp_path):
    data, fitted = DATA[name][0], model_of(name)
    found = fitted.compress(data, tmp_path / "rows.lb")
    back = fitted.decompress(tmp_path / "rows.lb")
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(back, data, check_dtype=False)
    else:
        assert back.dtype == data.dtype
        assert np.array_equal(back, data)
    assert found.num_bytes == (tmp_path / "rows.lb").stat().st_size
    assert found.bits == pytest.approx(found.elbo_bits, rel=0.02)
    assert set(found.others) >= {"gzip", "bz2", "lzma"}
