"""Archives made to break a reader: each is refused in one sentence, before it is read."""

import io
import struct
import zipfile

import numpy as np
import pytest
import scipy.sparse

from lowerbound.data import DataError, Dataset, read_file
from lowerbound.data.measured import measure
from lowerbound.data.memory import check_memory


def _refusal(path, **named):
    with pytest.raises(DataError) as caught:
        read_file(path, **named)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 300
    return message


def _header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", ["(10000000000, 1000)", "(10000000000000000000000, 10)"])
def test_declared_sizes_beyond_memory(tmp_path, shape):
    (tmp_path / "x.npy").write_bytes(_header(shape) + b"\0" * 64)
    assert "of memory are free" in _refusal(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", _header(shape) + b"\0" * 64)
    assert "array 'x' of x.npz declares" in _refusal(tmp_path / "x.npz")


def test_members_that_are_no_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array at all")
    assert "'x.npy' in x.npz is no array" in _refusal(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("x.txt", b"1,2")
    assert "has no 'x'" in _refusal(tmp_path / "y.npz")


def test_locked_and_strangely_compressed_archives(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.eye(4))
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    central = whole.index(b"PK\x01\x02")
    locked, strange = bytearray(whole), bytearray(whole)
    locked[central + 8] |= 1
    (tmp_path / "x.npz").write_bytes(bytes(locked))
    assert "is locked by a password" in _refusal(tmp_path / "x.npz")
    strange[central + 10] = 99
    (tmp_path / "x.npz").write_bytes(bytes(strange))
    assert "compressed in another way" in _refusal(tmp_path / "x.npz")


def test_sparse_matrices(tmp_path):
    counts = np.random.default_rng(0).poisson(0.3, (40, 7))
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csr_matrix(counts))
    data = read_file(tmp_path / "x.npz")
    assert data.kind == "counts"
    assert data.checksum == Dataset.from_array(counts).checksum
    assert Dataset.from_array(scipy.sparse.csc_array(counts)).checksum == data.checksum
    assert data.notes == ("x.npz is sparse and was made dense.",)


@pytest.mark.parametrize("indices", [[0, 9], [0, -1]])
def test_sparse_matrices_that_point_outside_of_themselves(tmp_path, indices):
    """scipy writes there without looking."""
    np.savez(
        tmp_path / "x.npz",
        indices=np.array(indices, np.int32),
        indptr=np.array([0, 1, 2], np.int32),
        format=b"csr",
        shape=np.array([2, 3]),
        data=np.ones(2),
    )
    assert "is not a readable .npz file" in _refusal(tmp_path / "x.npz")


def test_sparse_matrices_that_would_fill_memory(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        indices=np.zeros(1, np.int64),
        indptr=np.array([0, 1], np.int64),
        format=b"csc",
        shape=np.array([10**13, 1]),
        data=np.ones(1),
    )
    np.savez(tmp_path / "y.npz", indices=[0], indptr=[0, 1], format=b"csr", shape=np.array([1, 10**13]), data=[1.0])
    assert "of memory are free" in _refusal(tmp_path / "y.npz")


def test_a_label_that_only_one_part_has(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=np.eye(4), x_test=np.eye(4), y_train=np.arange(4))
    assert "labels for its training rows only" in _refusal(tmp_path / "x.npz")


def test_files_of_other_formats(tmp_path):
    (tmp_path / "x.h5ad").write_bytes(b"\x89HDF")
    assert "is not a readable .h5ad file" in _refusal(tmp_path / "x.h5ad")


def test_long_names_make_short_messages(tmp_path):
    np.savez(tmp_path / "x.npz", **{"n" * 5000: np.eye(3), "m" * 5000: np.eye(3)})
    _refusal(tmp_path / "x.npz")
    _refusal(tmp_path / "x.npz", array="k" * 5000)
    (tmp_path / "t.csv").write_text("n" * 5000 + ",b\n1,2\n,inf\n3,4\n")
    _refusal(tmp_path / "t.csv")
    _refusal(tmp_path / "t.csv", columns={"k" * 5000: "drop"})
    _refusal(tmp_path / "t.csv", label="k" * 5000)
    (tmp_path / "t.csv").write_text("a,b\n" + "x" * 200_000 + ",2\n3,4\n")  # beyond the limit of a field
    _refusal(tmp_path / "t.csv")


def test_memory_is_looked_at() -> None:
    check_memory((10, 10), 8, "x")
    with pytest.raises(DataError, match="x declares 1,000,000,000 x 1,000,000,000 numbers"):
        check_memory((10**9, 10**9), 8, "x")


def test_random_bytes_in_an_archive(tmp_path) -> None:
    """300 archives with one byte changed: read, or refused as data."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.random.default_rng(0).normal(size=(20, 3)), y=np.arange(20) % 3)
    whole, rng = buffer.getvalue(), np.random.default_rng(1)
    for _ in range(300):
        altered = bytearray(whole)
        altered[rng.integers(len(altered))] ^= 1 << int(rng.integers(8))
        (tmp_path / "x.npz").write_bytes(bytes(altered))
        try:
            read_file(tmp_path / "x.npz")
        except DataError as error:
            assert len(str(error)) < 300  # noqa: PT017


def test_a_million_columns_are_no_table_and_may_be_an_array(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 1_000_000), dtype=np.float32))
    assert "has 1,000,000 columns and a table at most 100,000" in _refusal(tmp_path / "x.npy")
    assert read_file(tmp_path / "x.npy", kind="array").event_shape == (1_000_000,)


def test_facts_of_many_columns_are_found_once_for_all():
    """Not anew for each column, which takes minutes for 100,000 of them."""
    measured = measure(np.arange(12.0).reshape(3, 4))
    assert measured.near_zero is measured.near_zero
    assert measured.whole is measured.whole


def test_a_line_of_names_longer_than_a_field_may_be(tmp_path):
    """With the wrong delimiter it is one field, which the csv module refuses."""
    names = [f"{'a' * 1000}{i}" for i in range(150)]
    rows = [",".join(str((i * 7 + r * 13) % 101 / 10) for i in range(150)) for r in range(6)]
    (tmp_path / "x.csv").write_text("\n".join([",".join(names), *rows]))
    found = read_file(tmp_path / "x.csv").schema.columns
    assert found is not None
    assert [column.name for column in found] == names
    assert {column.kind for column in found} == {"continuous"}
