"""The stream of batches: every row once an epoch, random access, ranks that partition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.data import Stream

sizes = st.integers(1, 12)
seeds = st.integers(0, 2**40)


def _take(stream, num_batches):
    return torch.cat([stream[t] for t in range(num_batches)])


@given(num_rows=sizes, batch_size=sizes, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_each_row_is_seen_once_an_epoch(num_rows, batch_size, seed):
    stream = Stream(num_rows, batch_size, seed)
    rows = _take(stream, 3 * num_rows)  # 3 * batch_size whole epochs
    assert rows.dtype == torch.int64
    for epoch in rows.reshape(-1, num_rows):
        assert epoch.sort().values.tolist() == list(range(num_rows))


@given(num_rows=sizes, batch_size=sizes, seed=seeds, order=st.permutations(range(10)))
@settings(max_examples=60, deadline=None)
def test_random_access_equals_sequential(num_rows, batch_size, seed, order):
    sequential = Stream(num_rows, batch_size, seed)
    batches = [sequential[t] for t in range(10)]
    jumping = Stream(num_rows, batch_size, seed)
    for t in order:
        assert torch.equal(jumping[t], batches[t])
    assert torch.equal(Stream(num_rows, batch_size, seed)[7], batches[7])


@given(num_rows=sizes, share=st.integers(1, 5), world_size=st.integers(1, 4), seed=seeds)
@settings(max_examples=60, deadline=None)
def test_ranks_partition_every_batch_in_order(num_rows, share, world_size, seed):
    batch_size = share * world_size
    whole = Stream(num_rows, batch_size, seed)
    parts = [Stream(num_rows, batch_size, seed, rank=r, world_size=world_size) for r in range(world_size)]
    for t in range(5):
        assert torch.equal(torch.cat([part[t] for part in parts]), whole[t])


def test_epochs_and_seeds_give_different_orders():
    stream = Stream(1000, 1000, seed=0)
    assert not torch.equal(stream[0], stream[1])
    assert not torch.equal(stream[0], Stream(1000, 1000, seed=1)[0])
    # (seed, epoch) must be mixed, not added: else epoch 1 of seed 0 is epoch 0 of seed 1
    assert not torch.equal(stream[1], Stream(1000, 1000, seed=1)[0])


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Stream(100, 10, seed=3)[25]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_permutation_is_drawn_once_an_epoch(monkeypatch):
    import lowerbound.data.stream as module

    drawn = []
    make = module.Permutation
    monkeypatch.setattr(module, "Permutation", lambda n, seeds, **k: drawn.append(seeds[1]) or make(n, seeds, **k))
    stream = Stream(10, 4, seed=0)
    for t in range(10):
        stream[t]
    assert drawn == [0, 1, 2, 3]
    stream[7]  # straddles epochs 2 and 3, the two that are kept
    assert drawn == [0, 1, 2, 3]


def test_epoch_of_counts_passes():
    stream = Stream(num_rows=8, batch_size=6, seed=0)
    assert [stream.epoch_of(t) for t in (0, 1, 4)] == [0.0, 0.75, 3.0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_rows": 0}, "num_rows is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
        ({"batch_size": 5, "world_size": 2}, "2 ranks cannot share equally"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        Stream(**({"num_rows": 4, "batch_size": 4, "seed": 0} | arguments))


def test_negative_step_is_refused():
    with pytest.raises(IndexError, match="step is -1"):
        Stream(4, 2, 0)[-1]
