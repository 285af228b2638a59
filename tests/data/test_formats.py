"""The published formats, read back from files that are written here in those formats.

What the catalogue's .npz files hold must come out bit for bit of the original formats too.
"""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from published_files import amat, cifar, idx

from lowerbound.data import DataError
from lowerbound.data.formats.amat import read_amat
from lowerbound.data.formats.cifar import TEST, TRAIN, read_cifar
from lowerbound.data.formats.idx import read_idx
from lowerbound.data.formats.matlab import read_matlab

FOLDER = Path(os.environ.get("LOWERBOUND_DATA", ""))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def test_idx(path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    for array in (images, images[:, 0, 0].copy()):
        path.write_bytes(idx(array))
        read = read_idx(path)
        assert read.dtype == np.uint8
        assert read.flags.writeable
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no gzip", "not a readable gzip"),
        (idx(np.zeros((3, 2), np.uint8))[:-12], "not a readable gzip"),
        (gzip.compress(b""), "not an idx file"),
        (gzip.compress(bytes([0, 0, 13, 1]) + bytes(8)), "not an idx file"),
        (gzip.compress(bytes([0, 0, 8, 9]) + bytes(8)), "not an idx file"),
        (gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">i", 3) + bytes(2)), "2 values"),
        (gzip.compress(bytes([0, 0, 8, 2]) + b"\xff" * 8), "0 values"),
    ],
    ids=range(7),
)
def test_what_is_not_idx_is_refused(path, content, words):
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_idx(path)


def test_amat(path):
    rows = np.random.default_rng(0).integers(0, 2, (7, 784), dtype=np.uint8)
    path.write_bytes(amat(rows))
    np.testing.assert_array_equal(read_amat(path, 784), rows)


@pytest.mark.parametrize("content", [b"", b"0 1\n0 2\n", b"0 1\n0\n1", b"0,1\n0 1\n", b"0 1 0 1\n", b"0 1\n1"])
def test_what_is_not_amat_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match="lines of 2 digits"):
        read_amat(path, 2)


def test_cifar(path):
    generator = np.random.default_rng(0)
    records = {name: generator.integers(0, 256, (2, 3073), dtype=np.uint8) for name in (*TEST, *reversed(TRAIN))}
    other = {"cifar-10-batches-bin/../../evil": b"x"}
    path.write_bytes(cifar({name: data.tobytes() for name, data in records.items()} | other))
    images, labels = read_cifar(path, TRAIN)
    expected = np.concatenate([records[name] for name in TRAIN])
    np.testing.assert_array_equal(labels, expected[:, 0])
    assert images.shape == (10, 3, 32, 32)
    assert images[3, 2, 31, 30] == expected[3, 1 + 2 * 1024 + 31 * 32 + 30]
    assert [child.name for child in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no archive", "not a readable tar.gz"),
        (cifar({TEST[0]: bytes(3073)})[:-20], "not a readable tar.gz"),
        (cifar({"other": bytes(3073)}), "has 0 bytes"),
        (cifar({TEST[0]: bytes(3072)}), "has 3072 bytes"),
    ],
    ids=range(4),
)
def test_what_is_not_cifar_is_refused(path, content, words):
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_cifar(path, TEST)


def test_matlab(path):
    scipy.io.savemat(path, {"a": np.arange(6.0).reshape(2, 3), "b": np.eye(2, dtype=np.uint8)}, appendmat=False)
    b, a = read_matlab(path, ("b", "a"))
    np.testing.assert_array_equal(a, np.arange(6.0).reshape(2, 3))
    assert b.dtype == np.uint8


def test_what_is_not_numbers_of_matlab_is_refused(path, monkeypatch):
    monkeypatch.setattr("lowerbound.data.formats.matlab._MOST_VALUES", 100)
    scipy.io.savemat(path, {"a": "text", "huge": np.zeros((10, 11))}, appendmat=False, do_compression=True)
    for name in ("a", "absent", "huge"):
        with pytest.raises(DataError, match=f"no array of numbers '{name}'"):
            read_matlab(path, (name,))
    for content in (b"no mat", b"MATLAB 5.0 MAT-file" + bytes(200), b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable"):
            read_matlab(path, ("a",))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_a_part_of_the_real_file_comes_back_from_idx(path, name):
    if not (FOLDER / f"{name}.npz").is_file():
        pytest.skip(f"LOWERBOUND_DATA holds no {name}.npz")
    with np.load(FOLDER / f"{name}.npz") as archive:
        for array in (archive["x_test"][:500], archive["y_test"][:500]):
            path.write_bytes(idx(array))
            read = read_idx(path)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)
