"""Real numbers on no grid come back to the last bit, and take −log₂ p(x) of their cells and the digits below."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import lowerbound as lb
from lowerbound.cli.compress import lines_of
from lowerbound.data import DataError
from lowerbound.data.transform import Standardize
from lowerbound.support import reals
from lowerbound.verbs.lossless_file import pack, unpack
from lowerbound.verbs.lossless_grid import Grid, grid_of
from lowerbound.verbs.lossless_rests import pack_rests, unpack_rests

G = np.random.default_rng(0)
HOSTILE = {
    "normal": G.normal(size=400),
    "about zero": np.concatenate([G.normal(size=50) * 10.0 ** G.uniform(-300, 1, 50), [0.0, -0.0, 5e-324, -5e-324]]),
    "far from zero": 1e9 + G.normal(size=200) / 7,
    "as near as they can be": 1.0 + np.arange(20) * np.spacing(1.0),
    "one number": np.full(5, 1 / 3),
    "large": np.array([-1e300, 1 / 3, 1e300]),
    "the smallest": np.array([5e-324, 1e-323, 2e-310]),
    "powers": 2.0 ** np.arange(-60, 60) / 3,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", HOSTILE)
def test_numbers_of_any_kind_come_back(name, dtype):
    with np.errstate(over="ignore", under="ignore"):
        x = HOSTILE[name].astype(dtype)[:, None]
    x = np.where(np.isfinite(x), x, np.copysign(np.finfo(dtype).max, x))
    one = Standardize(mean=torch.zeros(1), scale=torch.ones(1))
    grid = grid_of(x, reals, one, None)
    grid = Grid.from_json(grid.to_json(), 1)
    k = grid.numbers(x, None)
    assert bool(((k >= 0) & (k < grid.size)).all())
    back = grid.restored(k, None, dtype, grid.rests(x, k))
    assert back.tobytes() == x.tobytes()


def test_what_was_cut_off_or_altered_is_refused():
    low, high = np.array([1.0, -2.0]), np.array([1.5, -1.0])
    content = pack_rests(np.array([1.25, -1.5]), (low, high))
    assert unpack_rests(content, (low, high)).tolist() == [1.25, -1.5]
    with pytest.raises(ValueError, match="cut off"):
        unpack_rests(content[:-1], (low, high))
    with pytest.raises(ValueError, match="other numbers"):
        unpack_rests(content + b"0", (low, high))
    with pytest.raises(ValueError, match="other numbers"):
        unpack_rests(b"\xff" * 13, (low, np.array([1.4, -1.0])))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_takes_the_density_times_the_spacing_of_the_numbers(dtype, tmp_path):
    """Under one Gaussian, Σ −log₂ [p(x) Π spacing(x_d)] is what cells and the digits below take."""
    x = (100 + np.random.default_rng(1).normal(size=(300, 3)) / 3).astype(dtype)
    fitted = lb.fit(x, "mixture-of-factor-analysers", components=1, latent_dim=1, device="cpu")
    found = fitted.compress(x, tmp_path / "x.lb")
    back = fitted.decompress(tmp_path / "x.lb")
    assert back.tobytes() == x.tobytes()
    p = stats.multivariate_normal(x.astype(float).mean(0), np.cov(x.astype(float).T, bias=True))
    exact = -(p.logpdf(x.astype(float)) / np.log(2)).sum() - np.log2(np.spacing(x).astype(float)).sum()
    assert found.bits + found.rest_bits == pytest.approx(exact, rel=1e-3)
    assert found.bits == pytest.approx(found.drawn_bits, rel=2e-3)
    assert 8 * found.num_bytes == pytest.approx(found.bits + found.rest_bits + found.start_bits)
    assert "digits below the grid" in "\n".join(lines_of(found))


def test_a_table_with_gaps_and_other_columns_and_altered_digits(tmp_path):
    frame = pd.DataFrame({"mass": G.normal(size=60) / 7, "sex": list("mf") * 30, "size": G.normal(size=60).round(1)})
    frame.loc[::9, "mass"] = np.nan
    fitted = lb.fit(frame, device="cpu")
    path = tmp_path / "x.lb"
    found = fitted.compress(frame, path)
    pd.testing.assert_frame_equal(fitted.decompress(path), frame, check_exact=True, check_dtype=False)
    assert 30 < found.rest_bits / frame.mass.notna().sum() < 45
    content = unpack(path.read_bytes())
    for rests in (content.rests[:-1], content.rests + b"0", bytes([content.rests[0] ^ 1]) + content.rests[1:], b""):
        path.write_bytes(pack(dataclasses.replace(content, rests=rests)))
        with pytest.raises(DataError):
            fitted.decompress(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"rests": 10**12}, {"rests": -1}, {"rests": "x"}, {"fine": [False]}, {"fine": [True]}, {"per": [1e-300]},
        {"per": [1e300]}, {"first": [1e308]}, {"size": [1]}, {"every": [0.5]},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_lies_about_digits_is_refused(changes, with_rests, tmp_path):
    """Its hash is right, so that only what it says is wrong."""
    fitted, written = with_rests
    content = unpack(written)
    of_grid = {key: value for key, value in changes.items() if key != "rests"}
    header = {**content.header, "grid": {**content.header["grid"], **of_grid}}
    forged = pack(dataclasses.replace(content, header=header))
    if "rests" in changes:
        length = int.from_bytes(forged[4:8], "big")
        told = json.loads(zlib.decompress(forged[8 : 8 + length]))
        words = zlib.compress(json.dumps({**told, **changes}).encode(), 9)
        body = forged[:4] + len(words).to_bytes(4, "big") + words + forged[8 + length : -32]
        forged = body + hashlib.sha256(body).digest()
    (tmp_path / "x.lb").write_bytes(forged)
    with pytest.raises(DataError) as caught:
        fitted.decompress(tmp_path / "x.lb")
    assert len(str(caught.value)) < 300


@pytest.fixture(scope="module")
def with_rests(tmp_path_factory):
    """A model and a file of one column without gaps and one of one decimal."""
    g = np.random.default_rng(3)
    x = np.stack([g.normal(size=40) / 7, g.normal(size=40).round(1)], 1)
    fitted = lb.fit(pd.DataFrame(x, columns=["a", "b"]), device="cpu")
    path = tmp_path_factory.mktemp("rests") / "x.lb"
    fitted.compress(pd.DataFrame(x, columns=["a", "b"]), path)
    return fitted, path.read_bytes()
