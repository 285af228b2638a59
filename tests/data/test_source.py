"""Sources: the same rows, bit for bit, from memory and from a file."""

import numpy as np
import pytest
import torch

from lowerbound.data import (
    Dataset,
    InMemory,
    MemoryMapped,
    OnData,
    Pixels,
    Source,
    Standardize,
    Stream,
    read_file,
    source_for,
)
from lowerbound.data.on_disk import OnDisk


def _saved(tmp_path, x):
    path = tmp_path / "x.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32])
def test_memory_map_gathers_the_bits_of_memory(tmp_path, dtype):
    x = np.random.default_rng(0).uniform(0, 255, (50, 3, 2)).astype(dtype)
    mapped = MemoryMapped(_saved(tmp_path, x))
    memory = InMemory(torch.from_numpy(x.astype(np.float64) if dtype == np.int32 else x))
    stream = Stream(50, 16, seed=4)
    for step in range(8):
        (a,), (b,) = mapped.gather(stream[step]), memory.gather(stream[step])
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_repeated_and_unsorted_rows_keep_their_order(tmp_path):
    mapped = MemoryMapped(_saved(tmp_path, np.arange(6, dtype=np.float32).reshape(6, 1)))
    (x,) = mapped.gather(torch.tensor([5, 0, 5, 2]))
    assert x.flatten().tolist() == [5, 0, 5, 2]


def test_row_index_and_others_are_numbered_alike(tmp_path):
    x = np.arange(10, dtype=np.float32).reshape(10, 1)
    rows = np.array([7, 1, 4])
    source = MemoryMapped(_saved(tmp_path, x), rows=rows, others=(torch.tensor([70, 10, 40]),))
    data, labels = source.gather(torch.tensor([2, 0]))
    assert len(source) == 3
    assert data.flatten().tolist() == [4, 7]
    assert labels.tolist() == [40, 70]


def test_both_fulfil_the_protocol(tmp_path):
    x = np.zeros((3, 2), dtype=np.float32)
    assert isinstance(InMemory(torch.from_numpy(x)), Source)
    assert isinstance(MemoryMapped(_saved(tmp_path, x)), Source)


def test_a_tensor_from_the_transform_becomes_a_tuple():
    source = InMemory(torch.zeros(3, 2, dtype=torch.uint8), Pixels(binarization="none"))
    batch = source.transform(*source.gather(torch.tensor([0, 1])))
    assert isinstance(batch, tuple)
    assert batch[0].shape == (2, 2)


def test_on_data_passes_labels_on():
    x, y = torch.full((3, 2), 255, dtype=torch.uint8), torch.tensor([1, 2, 3])
    source = InMemory((x, y), OnData(Pixels(binarization="none")))
    data, labels = source.transform(*source.gather(torch.tensor([2, 0])))
    assert data.tolist() == [[1, 1], [1, 1]]
    assert labels.tolist() == [3, 1]


def test_mismatched_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[3, 2\] rows"):
        InMemory((torch.zeros(3), torch.zeros(2)))
    mapped = _saved(tmp_path, np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"\[2, 3\] rows"):
        MemoryMapped(mapped, rows=np.array([0, 1]), others=(torch.zeros(3),))
    with pytest.raises(ValueError, match="rows go from 0 to 3"):
        MemoryMapped(mapped, rows=np.array([0, 3]))
    with pytest.raises(ValueError, match="no tensor"):
        InMemory(())


@pytest.mark.parametrize("shape", [(40, 3), (40, 5, 4), (40, 5, 4, 3)])
def test_a_streamed_file_trains_like_the_same_file_in_memory(tmp_path, shape):
    dtype = np.float64 if len(shape) == 2 else np.uint8
    x = np.random.default_rng(1).uniform(0, 255, shape).astype(dtype)
    path = tmp_path / "x.npy"
    np.save(path, x)
    memory, streamed = read_file(path), read_file(path, stream_above=0)
    a, b = source_for(memory), source_for(streamed)
    assert isinstance(a, InMemory)
    assert isinstance(b, MemoryMapped)
    assert isinstance(streamed.x_train, OnDisk)
    assert streamed.train_rows is not None
    assert (np.diff(streamed.train_rows) > 0).all()  # read in the order of the file
    stream = Stream(len(a), 7, seed=0)
    assert len(a) == len(b) == memory.num_train == streamed.num_train == 32
    for step in range(10):
        assert torch.equal(a.gather(stream[step])[0], b.gather(stream[step])[0])
    assert streamed.checksum == memory.checksum
    assert np.array_equal(streamed.x_test, memory.x_test)


def test_source_for_carries_labels_and_transform():
    x = np.array([[0.0], [2.0], [4.0]], dtype=np.float32)
    data = Dataset.from_arrays(name="d", kind="table", x_train=x, x_test=x, y_train=np.array([7, 8, 9]), source="here")
    source = source_for(data, Standardize.fit(data.x_train), with_labels=True)
    got, labels = source.transform(*source.gather(torch.tensor([1, 2])))
    assert [data.schema.classes[i] for i in labels] == ["8", "9"]
    assert got[0].item() == 0
    bare = Dataset.from_arrays(name="d", kind="table", x_train=x, x_test=x, source="here")
    with pytest.raises(ValueError, match="d has no labels"):
        source_for(bare, with_labels=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_batches_have_the_same_bits(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (64, 9), dtype=np.uint8)
    mapped = MemoryMapped(_saved(tmp_path, x), Pixels(), device="cuda")
    memory = InMemory(torch.from_numpy(x), Pixels(), device="cuda")
    rows = Stream(64, 48, seed=0)[1]
    (a,), (b,) = mapped.gather(rows), memory.gather(rows)
    assert a.is_cuda
    assert torch.equal(a, b)
    assert torch.equal(a.cpu(), torch.from_numpy(x)[rows])
