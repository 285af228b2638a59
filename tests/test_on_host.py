"""What is remembered of a tensor is found for it and its views, never for another one, and kept no longer than it.

In a test with `device` tensors count as those of a device: what they are said to hold is told from what they do.
"""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor
from waits import Waits

from lowerbound.data import InMemory, MemoryMapped
from lowerbound.data.feed import Batches, OfDataset
from lowerbound.data.transform import Identity
from lowerbound.on_host import carried, on_host, remember

ROWS = torch.arange(12.0).view(4, 3)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the CPU are asked as those of a device are."""
    monkeypatch.setattr("lowerbound.on_host._lies_on_host", lambda x: False)


def told() -> Tensor:
    """A tensor of zeros that is said to hold `ROWS`, by which one sees where an answer comes from."""
    x = torch.zeros(4, 3)
    remember(x, ROWS)
    return x


def asked(x: Tensor) -> tuple[np.ndarray, bool]:
    """What the host knows, and whether it had to wait for it."""
    seen: list[str] = []
    with Waits(seen):
        found = on_host(x)
    return found, bool(seen)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.expand(5, 4, 3),
        lambda x: x[:, None].expand(4, 2, 3),
        lambda x: x.tensor_split(3)[1],
        lambda x: x[2:, :2],
        lambda x: x[3],
        lambda x: x.mT,
        lambda x: x.detach().view(2, 6),
        lambda x: x[1:].expand(2, 3, 3)[:, 1:],
    ],
)
def test_views_hold_what_the_tensor_holds(view):
    x = told()
    found, waited = asked(view(x))
    assert np.array_equal(found, view(ROWS).numpy())
    assert not waited


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.clone(),
        lambda x: x[torch.tensor([0, 2])],
        lambda x: x.expand(5, 4, 3).reshape(-1, 3),
        lambda x: x.view(torch.int32),
        lambda x: x.new_zeros(4, 3),
        lambda x: x[:0],
    ],
)
def test_of_another_tensor_the_device_is_asked(other):
    x = told()
    found, waited = asked(other(x))
    assert np.array_equal(found, other(torch.zeros(4, 3)).numpy())
    assert waited


@pytest.mark.usefixtures("device")
def test_what_is_beyond_the_tensor_is_not_known():
    whole = torch.zeros(6, 3)
    part = whole[1:5]
    remember(part, ROWS)
    assert np.array_equal(asked(whole[2:5])[0], ROWS[1:])
    for beyond in (whole, whole[0], whole[3:]):
        found, waited = asked(beyond)
        assert waited
        assert not found.any()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("change", [lambda x: x.fill_(7.0), lambda x: x[1:].fill_(7.0)])
def test_a_change_in_place_is_seen(change):
    x = told()
    change(x)
    found, waited = asked(x)
    assert np.array_equal(found, x.numpy())
    assert waited


def test_what_lies_on_the_host_itself_is_read_there():
    x = ROWS.clone()
    remember(x, x)
    found, waited = asked(x[1:])
    assert np.array_equal(found, ROWS[1:])
    assert not waited
    gone = weakref.ref(x)
    del x, found
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("device")
def test_what_was_remembered_goes_with_the_tensor():
    held = ROWS.clone()
    gone = weakref.ref(held)
    x = torch.zeros(4, 3)
    remember(x, held)
    kept = carried(x, x.double())
    del held, x
    gc.collect()
    assert np.array_equal(asked(kept)[0], ROWS)
    del kept
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("device")
def test_a_function_is_called_once_and_only_if_asked():
    calls: list[int] = []
    x = torch.zeros(4, 3)
    remember(x, lambda: (calls.append(1), ROWS)[1])
    assert not calls
    assert np.array_equal(on_host(x), ROWS)
    assert np.array_equal(on_host(x[2:]), ROWS[2:])
    assert len(calls) == 1


def test_numbers_that_numpy_does_not_have_are_read_as_others():
    assert np.array_equal(on_host(ROWS.bfloat16()), ROWS)


@pytest.mark.usefixtures("device")
def test_a_tensor_whose_memory_was_exchanged_says_nothing_of_the_old_one():
    x = told()
    before = x.data
    x.data = torch.zeros(4, 3)
    before.fill_(7.0)
    found, waited = asked(before)
    assert np.array_equal(found, before.numpy())
    assert waited


def test_on_the_cpu_a_change_that_torch_does_not_see_is_seen():
    """A transform of one's own may write by NumPy."""
    (x,) = InMemory(ROWS.clone()).gather(torch.tensor([2, 0]))
    x.numpy()[0] = 5
    found, waited = asked(x)
    assert np.array_equal(found, [[5, 5, 5], [0, 1, 2]])
    assert not waited


def test_what_lies_on_the_cpu_is_carried_to_a_device(monkeypatch):
    x = ROWS.clone()
    remember(x, x)
    sent = torch.zeros(4, 3)
    monkeypatch.setattr("lowerbound.on_host._lies_on_host", lambda tensor: tensor is not sent)
    carried(x, sent)
    found, waited = asked(sent)
    assert np.array_equal(found, ROWS)
    assert not waited


@pytest.mark.parametrize("on_device", [False, True])
def test_every_source_says_what_its_rows_hold(tmp_path, on_device, request):
    if on_device:
        request.getfixturevalue("device")
    table = (torch.arange(24) % 7).int().view(8, 3)
    np.save(tmp_path / "x.npy", table.numpy())
    rows = torch.tensor([5, 0, 2])
    sources = [
        InMemory(table, Identity()),
        MemoryMapped(np.load(tmp_path / "x.npy", mmap_mode="r"), Identity()),
        OfDataset(torch.utils.data.TensorDataset(table)),
    ]
    for source in sources:
        x = source.transform(*source.gather(rows))[0]
        found, waited = asked(x[1:])
        assert np.array_equal(found, table[rows][1:]), source
        assert not waited, source
    (x,) = Batches([table.float()]).batch(0)
    assert not asked(x)[1]
