"""Permutations that are computed where they are asked for: bijections, uniform, and of bounded memory."""

import resource

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.data import Stream
from lowerbound.data.permutation import KEYED_ABOVE, Permutation, keyed_bijection


def _keys(*seeds: int) -> np.ndarray:
    return np.random.SeedSequence(seeds).generate_state(8, np.uint64)


@given(size=st.integers(1, 5000), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_every_row_comes_once(size: int, seed: int) -> None:
    found = keyed_bijection(np.arange(size), size, _keys(seed))
    assert np.array_equal(np.sort(found), np.arange(size))


@pytest.mark.parametrize("size", [2**16 - 1, 2**16, 2**16 + 1, 3 * 2**14])
def test_parts_are_those_of_the_whole(size: int) -> None:
    order = Permutation(size, (3, 1), keyed_above=0)
    whole = order.part(0, size)
    assert torch.equal(whole.sort().values, torch.arange(size))
    for start, stop in ((0, 0), (5, 5), (16380, 16390), (0, size), (size - 3, size), (100, 40_000)):
        assert torch.equal(order.part(start, stop), whole[start:stop])


def test_few_rows_are_permuted_by_torch() -> None:
    mixed = int(np.random.SeedSequence((7, 2)).generate_state(1, np.uint32)[0])
    theirs = torch.randperm(50, generator=torch.Generator().manual_seed(mixed))
    assert torch.equal(Permutation(50, (7, 2)).part(0, 50), theirs)


@pytest.mark.parametrize("size", [1000, 1024, 2**20 + 1])
def test_each_row_is_as_likely_at_each_position(size: int) -> None:
    """χ² of the row at three positions, and of the pairs of them, over 4,000 keys and 10 cells; α = 1e-6 each."""
    keys = np.random.default_rng(0).integers(0, 2**64, (4000, 8), dtype=np.uint64)
    places = np.array([0, 1, size - 1])
    drawn = np.stack([keyed_bijection(places, size, key) for key in keys]) * 10 // size
    expected = np.bincount(np.arange(size) * 10 // size) / size
    for i, j in ((0, 1), (1, 2), (2, 0)):
        assert scipy.stats.chisquare(np.bincount(drawn[:, i], minlength=10), 4000 * expected).pvalue > 1e-6
        pairs = np.bincount(drawn[:, i] * 10 + drawn[:, j], minlength=100)
        both = np.outer(expected * size, expected * size) - np.diag(expected * size)  # no row comes twice
        assert scipy.stats.chisquare(pairs, 4000 * both.ravel() / both.sum()).pvalue > 1e-6


@pytest.mark.parametrize("size", [10**6 + 3, 10**9, 2**40 + 1])
def test_rows_far_apart_and_neighbours_are_unrelated(size: int) -> None:
    """Of 2¹⁸ positions in a row, the rows are uniform and those of neighbours are independent (χ²); α = 1e-6 each."""
    count = 2**18
    found = keyed_bijection(np.arange(count) + (size - count) // 2, size, _keys(5))
    cells = (found.astype(np.float64) * 32 / size).astype(np.int64)
    assert scipy.stats.chisquare(np.bincount(cells, minlength=32)).pvalue > 1e-6
    pairs = np.bincount(cells[:-1] * 32 + cells[1:], minlength=1024)
    assert scipy.stats.chisquare(pairs).pvalue > 1e-6
    low = np.bincount((found[:-1] % 16) * 16 + found[1:] % 16, minlength=256)
    assert scipy.stats.chisquare(low).pvalue > 1e-6


def test_a_thousand_million_rows_take_no_memory() -> None:
    streams = [Stream(10**9, 1024, 0, rank=rank, world_size=4) for rank in range(4)]
    whole = Stream(10**9, 1024, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = [0, 1, 976_562, 10**8, 10**8 + 1]  # batch 976,562 straddles two epochs
    for step in steps:
        assert torch.equal(torch.cat([stream[step] for stream in streams]), whole[step])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB
    seen = torch.cat([whole[step] for step in range(200)])
    assert len(seen.unique()) == len(seen)
    assert int(seen.max()) < 10**9


def test_epochs_seeds_and_places_have_keys_of_their_own() -> None:
    parts = [
        Permutation(KEYED_ABOVE + 1, seeds, place).part(0, 50)
        for seeds in ((0, 0), (0, 1), (1, 0), (1, 1))
        for place in ((), (0,), (1, 0), (1, 1))
    ]
    assert len({tuple(part.tolist()) for part in parts}) == len(parts)
