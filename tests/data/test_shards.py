"""Folders of shards: the same rows, checksum and labels as one file in memory, whatever the format."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse
import torch

from lowerbound.data import DataError, MemoryMapped, Stream, read_file, source_for
from lowerbound.data.ahead import ReadAhead
from lowerbound.data.numbered import Numbered
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.reader import Asked
from lowerbound.data.shards.folder import read_shards

X = np.random.default_rng(0).integers(0, 256, (60, 4, 3), dtype=np.uint8)
Y = np.random.default_rng(1).integers(0, 3, 60)
CUTS = ((0, 17), (17, 18), (18, 45), (45, 60))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowerbound.data.remembered.cache_folder", lambda: tmp_path / "cache")


def _write(folder: Path, form: str, x: np.ndarray = X, y: np.ndarray = Y) -> Path:
    folder.mkdir()
    for i, (a, b) in enumerate(CUTS):
        one, of_one, place = x[a:b], y[a:b], folder / f"part-{i}"
        if form == "npy":
            np.save(f"{place}.npy", one)
        elif form in ("npz", "compressed"):
            (np.savez if form == "npz" else np.savez_compressed)(f"{place}.npz", x=one, y=of_one)
        elif form == "parquet":
            frame = pandas.DataFrame(one.reshape(b - a, -1).astype(float), columns=[f"c{j}" for j in range(12)])
            frame.assign(y=of_one).to_parquet(f"{place}.parquet", row_group_size=7)
        else:
            _write_tar(Path(f"{place}.tar"), one, of_one, form)
    (folder / "README.md").write_text("not a shard")
    return folder


def _write_tar(path: Path, x: np.ndarray, y: np.ndarray, form: str) -> None:
    from PIL import Image

    with tarfile.open(path, "w") as archive:
        for i, (row, label) in enumerate(zip(x, y, strict=True)):
            data = io.BytesIO()
            Image.fromarray(row).save(data, "png") if form == "tar of png" else np.save(data, row)
            members = {
                ("png" if form == "tar of png" else "npy"): data.getvalue(),
                ("json" if form == "tar of png" else "cls"): (
                    json.dumps({"label": int(label)}) if form == "tar of png" else f"{label}\n"
                ).encode(),
            }
            for ending, content in members.items():
                member = tarfile.TarInfo(f"{i:04d}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


FORMS = ("npy", "npz", "compressed", "parquet", "tar", "tar of png")


def _in_memory(tmp_path: Path, form: str) -> Any:
    """The same rows from one file."""
    if form == "parquet":
        frame = pandas.DataFrame(X.reshape(60, -1).astype(float), columns=[f"c{j}" for j in range(12)]).assign(y=Y)
        frame.to_parquet(tmp_path / "one.parquet")
        return read_file(tmp_path / "one.parquet", label="y")
    np.savez(tmp_path / "one.npz", **({"x": X} if form == "npy" else {"x": X, "y": Y}))
    return read_file(tmp_path / "one.npz")


@pytest.mark.parametrize("form", FORMS)
def test_shards_are_the_rows_of_one_file(form: str, tmp_path: Path) -> None:
    whole = _in_memory(tmp_path, form)
    folder = _write(tmp_path / "shards", form)
    label = "y" if form == "parquet" else None
    for path in (folder, folder / "part-*"):
        for stream_above in (2**31, 0):
            data = read_file(path, label=label, stream_above=stream_above)
            assert (data.checksum, data.kind, data.event_shape) == (whole.checksum, whole.kind, whole.event_shape)
            assert isinstance(data.x_train, OnDisk) == (stream_above == 0)
            assert np.array_equal(data.x_test, whole.x_test)
            rows = slice(None) if data.train_rows is None else data.train_rows
            assert np.array_equal(np.asarray(data.x_train)[rows], whole.x_train)
            if form != "npy":
                assert np.array_equal(data.y_train, whole.y_train)
                assert data.label_names == whole.label_names


@pytest.mark.parametrize("form", ["compressed", "parquet"])
@pytest.mark.parametrize("window", [1, 1500, 10**6])
def test_what_is_read_in_units_is_read_once_an_epoch_within_the_window(
    form: str, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowerbound.data.shards.folder.WINDOW", window)
    data = read_file(_write(tmp_path / "shards", form), label="y" if form == "parquet" else None, stream_above=0)
    source = source_for(data)
    assert isinstance(source, MemoryMapped)
    store = source.array.store
    units = len(store.unit_bounds) - 1
    read: list[int] = []
    read_unit = store._read_unit
    monkeypatch.setattr(store, "_read_unit", lambda number: read.append(number) or read_unit(number))
    feed, plain = ReadAhead(source, 8, 3), Numbered(source, 8, 3)
    whole, seen = np.asarray(data.x_train)[data.train_rows], []
    read.clear()
    for step in range(18):  # three epochs
        (rows,) = feed.gathered(step)
        seen += rows.numpy().reshape(8, -1).tolist()
        if window > 1:
            assert sum(map(store._length, store._held)) * store.row_bytes <= window
        assert torch.equal(rows, torch.from_numpy(whole[plain.rows(step).numpy()]).to(rows.dtype))
    for epoch in range(3):
        part = np.array(seen[48 * epoch : 48 * (epoch + 1)])
        assert np.array_equal(np.sort(part, 0), np.sort(whole.reshape(48, -1), 0))
    for future in list(store._held.values()):
        future.result()
    if window == 10**6:
        assert not read
    elif window > 1:
        assert len(read) <= 4 * units  # three epochs, what is read ahead, and batches across two windows


@pytest.mark.parametrize("units_held, batch_size, most", [(1, 4, 2.0), (2, 32, 2.5), (8, 32, 1.1), (30, 32, 1.1)])
def test_each_unit_is_read_once_an_epoch_where_a_window_is_a_part_of_the_data(
    units_held: int, batch_size: int, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each shard a fifth is held out, but it is read and held as a whole; a batch has rows of most units."""
    folder = tmp_path / "shards"
    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(60, 20, 2)).astype(np.float32)
    for i, rows in enumerate(x):
        np.savez_compressed(folder / f"{i:02d}.npz", x=rows)
    monkeypatch.setattr("lowerbound.data.shards.folder.WINDOW", units_held * x[0].nbytes)
    source = source_for(read_file(folder, kind="array", stream_above=0))
    assert isinstance(source, MemoryMapped)
    assert isinstance(source.array, OnDisk)
    store, read = source.array.store, list[int]()
    read_unit = store._read_unit
    monkeypatch.setattr(store, "_read_unit", lambda number: read.append(number) or read_unit(number))
    feed = ReadAhead(source, batch_size, 3)
    for step in range(4 * 960 // batch_size):  # four epochs
        feed.gathered(step)
        assert store._rows_held == sum(map(store._length, store._held)) <= units_held * 20
    for future in store._held.values():
        future.result()
    assert set(read) == set(range(60))
    assert len(read) <= most * 4 * 60 + units_held


def test_a_feed_that_is_closed_reads_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it wait for it: here the first unit is read for as long as the test holds it."""
    monkeypatch.setattr("lowerbound.data.shards.folder.WINDOW", 10**6)
    source = source_for(read_file(_write(tmp_path / "shards", "compressed"), stream_above=0))
    assert isinstance(source, MemoryMapped)
    assert isinstance(source.array, OnDisk)
    store, begun, held = source.array.store, list[int](), threading.Event()
    store._held.clear()
    store._rows_held = 0
    read_unit = store._read_unit
    monkeypatch.setattr(store, "_read_unit", lambda unit: (begun.append(unit), held.wait(60), read_unit(unit))[-1])
    source.read_ahead(np.array([0]), np.array([20, 40]))
    source.stop_reading(threading.Thread())
    held.set()
    units = list(store._held)
    assert len(units) <= 1
    np.testing.assert_array_equal(np.asarray(source.array), X)
    assert store._rows_held == len(X)
    assert len(begun) == 4


def test_who_waits_for_a_unit_gets_it_though_another_feed_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowerbound.data.shards.folder.WINDOW", 10**6)
    source = source_for(read_file(_write(tmp_path / "shards", "compressed"), stream_above=0))
    assert isinstance(source, MemoryMapped)
    assert isinstance(source.array, OnDisk)
    store, held, asked = source.array.store, threading.Event(), threading.Event()
    store._held.clear()
    store._rows_held = 0
    read_unit, unit_of = store._read_unit, store._unit
    monkeypatch.setattr(store, "_read_unit", lambda unit: (held.wait(60), read_unit(unit))[1])
    source.read_ahead(np.array([0]), np.array([20, 40]))
    monkeypatch.setattr(store, "_unit", lambda unit: (unit_of(unit), asked.set())[0])
    with ThreadPoolExecutor(2) as threads:
        other, own = threads.submit(store.read, np.array([45])), list[threading.Thread]()
        assert asked.wait(60)
        ends = threads.submit(
            lambda: (own.append(threading.current_thread()), held.wait(60), store.read(np.array([1])))
        )
        while not own:
            pass
        source.stop_reading(own[0])
        held.set()
        np.testing.assert_array_equal(other.result(60), np.asarray(source.array)[45:46])
        assert isinstance(ends.exception(60), CancelledError)


def test_closing_stops_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, stopped = source_for(read_file(_write(tmp_path / "shards", "compressed"), stream_above=0)), list[bool]()
    monkeypatch.setattr(source, "stop_reading", lambda thread: stopped.append(True))
    feed = ReadAhead(source, 8, 3)
    feed.batch(0)
    feed.close()
    assert stopped == [True]


_ROWS_APART = """
import sys
import numpy as np
from pathlib import Path
from lowerbound.data.shards.raw import npy_rows

def most():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

part = npy_rows(Path(sys.argv[1]))
rows = np.sort(np.random.default_rng(0).choice(part.num_rows, 5000, replace=False))
before = most()
found = part.read(rows)
assert (found[:, 0] == rows).all()
print(most() - before - found.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_rows_that_lie_apart_take_the_memory_of_a_few(tmp_path: Path) -> None:
    """Of a file of 1 GiB, in whose holes no room is taken; each row maps what the system reads around it."""
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.int64, shape=(2**18, 2**9))
    rows = np.random.default_rng(0).choice(2**18, 5000, replace=False)
    x[rows, 0] = rows
    del x
    command = [sys.executable, "-c", _ROWS_APART, str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 160 * 2**20


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    for form in ("npy", "compressed"):
        x = read_file(_write(tmp_path / form, form), stream_above=0).x_train
        assert x[5:5].shape == x[np.array([], dtype=np.int64)].shape == (0, *x.shape[1:])


def test_the_thread_gives_the_same_batches_and_counts_its_waiting(tmp_path: Path) -> None:
    source = source_for(read_file(_write(tmp_path / "shards", "compressed"), stream_above=0))
    feed, plain = ReadAhead(source, 8, 3), Numbered(source, 8, 3)
    for step in (0, 0, 1, 2, 7, 8, 3):
        assert torch.equal(feed.batch(step)[0], plain.batch(step)[0])
    assert feed.waited > 0
    assert plain.waited == 0
    feed.close()
    assert feed._reader is None


def test_an_error_of_the_thread_is_raised_where_the_batch_is_asked_for(tmp_path: Path) -> None:
    folder = _write(tmp_path / "shards", "npy")
    feed = ReadAhead(source_for(read_file(folder, stream_above=0)), 8, 3)
    feed.batch(0)
    np.save(folder / "part-2.npy", X[:27] // 2)
    os.utime(folder / "part-2.npy", (1, 1))
    with pytest.raises(DataError, match=r"part-2.npy' has changed or gone since it was opened"):
        [feed.batch(step) for step in range(40)]
    feed.close()


def test_passes_over_files_are_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _write(tmp_path / "shards", "npy", X / np.float32(255))
    read: list[int] = []
    from lowerbound.data.shards.raw import RawRows

    plain = RawRows.read
    monkeypatch.setattr(RawRows, "read", lambda self, rows: read.append(len(rows)) or plain(self, rows))
    first = read_file(folder, stream_above=0)
    assert sum(read) > 3 * 60
    read.clear()
    assert read_file(folder, stream_above=0).checksum == first.checksum
    assert sum(read) == 12  # the test rows
    bad = X[:17] / np.float32(255)
    bad[3, 1, 2] = np.nan
    np.save(folder / "part-0.npy", bad)
    os.utime(folder / "part-0.npy", (1, 1))
    with pytest.raises(DataError, match="1 value that is NaN or infinite"):
        read_file(folder, kind="image", stream_above=0)


def _asked(**given: Any) -> Asked:
    return Asked(**{"stream_above": 0, **given})


def _refusal(path: Path, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        np.asarray(read_shards(path, _asked(**given)).x)
    return str(caught.value)


def test_shards_that_differ_are_named(tmp_path: Path) -> None:
    folder = _write(tmp_path / "shards", "npy")
    np.save(folder / "part-3.npy", X[:5, :3])
    assert "'part-3.npy' has rows of shape (3, 3) and other shards have rows of shape (4, 3)" in _refusal(folder)
    np.save(folder / "part-3.npy", X[:5].astype(np.int32))
    assert "'part-3.npy' has numbers of type int32 and other shards have numbers of type uint8" in _refusal(folder)
    (folder / "part-3.npy").write_bytes(b"\x93NUMPY not really")
    assert "'part-3.npy' is no .npy file of rows" in _refusal(folder)
    np.save(folder / "part-3.npy", X)
    content = (folder / "part-3.npy").read_bytes()
    (folder / "part-3.npy").write_bytes(content[:-1])
    assert "'part-3.npy' is not a readable .npy file; it ends before its last row" in _refusal(folder)
    np.savez(folder / "other.npz", x=X)
    assert "several formats (.npy, .npz)" in _refusal(folder)


@pytest.mark.parametrize("form", ["npz", "compressed", "parquet", "tar"])
def test_a_shard_that_cannot_be_read_is_named(form: str, tmp_path: Path) -> None:
    folder = _write(tmp_path / "shards", form)
    bad = next(folder.glob("part-2.*"))
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) * 2 // 3])
    assert "'part-2." in _refusal(folder)
    bad.write_bytes(b"not a shard at all")
    assert "'part-2." in _refusal(folder)


@pytest.mark.parametrize("form", ["npy", "npz", "compressed", "parquet"])
def test_a_shard_without_rows_changes_nothing(form: str, tmp_path: Path) -> None:
    folder, label = _write(tmp_path / "shards", form), "y" if form == "parquet" else None
    whole = read_file(folder, label=label).checksum
    first = next(folder.glob("part-0.*"))
    if form == "parquet":
        pandas.read_parquet(first).iloc[:0].to_parquet(folder / "part-4.parquet")
    elif form == "npy":
        np.save(folder / "part-4.npy", X[:0])
    else:
        np.savez(folder / "part-4.npz", x=X[:0], y=Y[:0])
    for stream_above in (2**31, 0):
        assert read_file(folder, label=label, stream_above=stream_above).checksum == whole
    for shard in folder.glob("part-[0-3].*"):
        shard.unlink()
    for stream_above in (2**31, 0):
        with pytest.raises(DataError, match="the shards of 'shards' hold no rows"):
            read_file(folder, label=label, stream_above=stream_above)


def test_a_shard_that_is_gone_is_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "shards", "npy")
    (folder / "part-9.npy").symlink_to(tmp_path / "gone.npy")
    assert "'part-9.npy' is a link to no file" in _refusal(folder)
    assert "'part-9.npy' is a link to no file" in _refusal(folder / "part-*")


def test_what_is_no_folder_of_shards_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no .png or .jpg file and no shards"):
        read_file(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no file is named like 'nothing-\*.npy'"):
        read_file(tmp_path / "nothing-*.npy")
    folder = _write(tmp_path / "shards", "npy")
    with pytest.raises(DataError, match="holds one array and no labels"):
        read_file(folder, label="y")
    with pytest.raises(DataError, match=r"is not an .npz file: drop it"):
        read_file(folder, array="x")


def test_labels_are_in_all_shards_or_in_none(tmp_path: Path) -> None:
    folder = _write(tmp_path / "shards", "npz")
    np.savez(folder / "part-1.npz", x=X[:4])
    assert "'part-1.npz' has no array 'y' and other shards have an array 'y'" in _refusal(folder)
    np.savez(folder / "part-1.npz", x=X[:4], y=Y[:3])
    assert "'part-1.npz' has 4 rows and labels of shape (3,)" in _refusal(folder)
    folder = _write(tmp_path / "tars", "tar")
    _write_tar(folder / "part-1.tar", X[:1], Y[:1], "tar")
    with tarfile.open(folder / "part-1.tar", "a") as archive:
        archive.add(folder / "README.md", "zz.cls")
        data = io.BytesIO()
        np.save(data, X[0])
        member = tarfile.TarInfo("alone.npy")
        member.size = len(data.getvalue())
        archive.addfile(member, io.BytesIO(data.getvalue()))
    assert "1 of 2 rows of 'part-1.tar' have no label, such as 'alone'" in _refusal(folder)


def test_columns_of_text_stay_in_memory_or_are_refused(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for i in range(3):
        frame = pandas.DataFrame({"a": np.arange(20.0) ** 2 + i, "b": ["red", "blue"] * 10})
        frame.to_parquet(tmp_path / "shards" / f"{i}.parquet")
    assert read_file(tmp_path / "shards").schema.column_names == ("a", "b")
    with pytest.raises(DataError, match=r"column 'b' of '0.parquet' holds .*string"):
        read_file(tmp_path / "shards", stream_above=0)
    frame.rename(columns={"a": "c"}).to_parquet(tmp_path / "shards" / "2.parquet")
    with pytest.raises(DataError, match=r"'2.parquet' has columns c, b and other shards have columns a, b"):
        read_file(tmp_path / "shards")


def test_gaps_of_columns_are_the_same_on_disk(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        frame = pandas.DataFrame(rng.normal(size=(30, 3)), columns=list("abc"))
        frame.iloc[2 + i, 1] = np.nan
        frame.to_parquet(tmp_path / "shards" / f"{i}.parquet", row_group_size=8)
    memory, streamed = read_file(tmp_path / "shards"), read_file(tmp_path / "shards", stream_above=0)
    assert memory.checksum == streamed.checksum
    assert memory.schema == streamed.schema
    assert np.isnan(np.asarray(streamed.x_train)).sum() == 2


def test_counts_in_compressed_rows_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    monkeypatch.setattr("lowerbound.data.shards.compressed_rows._UNIT_BYTES", 200)
    counts = np.random.default_rng(0).poisson(0.5, (50, 20)) * (np.arange(50)[:, None] % 7 > 0)
    matrix = scipy.sparse.csr_matrix(counts.astype(np.float32))
    path = tmp_path / "cells.h5ad"

    def write(matrix: Any) -> None:
        with h5py.File(path, "w") as file:
            group = file.create_group("X")
            group.attrs.update({"encoding-type": "csr_matrix", "shape": matrix.shape})
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)
            for table, names in (("obs", 50), ("var", 20)):
                made = file.create_group(table)
                made.attrs["_index"] = "names"
                made["names"] = [f"{table}{i}" for i in range(names)]

    write(matrix)
    memory, streamed = read_file(path), read_file(path, stream_above=0)
    assert isinstance(streamed.x_train, OnDisk)
    assert (streamed.checksum, streamed.kind) == (memory.checksum, "counts")
    assert streamed.schema == memory.schema
    source = source_for(streamed)
    a, b = source_for(memory), Stream(40, 8, 0)
    for step in range(5):
        assert torch.equal(source.gather(b[step])[0].float(), a.gather(b[step])[0].float())
    twice = matrix.copy()
    twice.indices[1] = twice.indices[0]
    write(twice)
    with pytest.raises(DataError, match="stores a number twice"):
        read_file(path, stream_above=0)
    outside = matrix.copy()
    outside.indices[3] = 99
    write(outside)
    with pytest.raises(DataError, match="is no matrix in compressed rows"):
        read_file(path, stream_above=0)


def test_a_sparse_archive_of_scipy_is_not_made_dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.random.default_rng(0).poisson(0.5, (50, 20))
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.csc_matrix(counts))
    dense = read_file(tmp_path / "x.npz")
    monkeypatch.setattr("lowerbound.data.sparse.STAY_SPARSE_ABOVE", 0)
    sparse = read_file(tmp_path / "x.npz")
    assert type(sparse.x_train).__name__ == "SparseRows"
    assert (sparse.checksum, sparse.kind) == (dense.checksum, "counts")
