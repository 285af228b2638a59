"""Units in random order and rows in random order within windows: each row once an epoch, each unit read once."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.data.stream import Stream, Units
from lowerbound.data.windows import Windowed


def _bounds(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


def _units(lengths: list[int], window: int) -> Units:
    return Units(_bounds(lengths), np.array(lengths), window)


@given(
    units=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=12),
    window=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_each_row_comes_once_and_each_unit_is_in_one_window(
    units: list[tuple[int, int]], window: int, seed: int
) -> None:
    lengths, read = [seen for seen, _ in units], np.array([seen + held_out for seen, held_out in units])
    bounds = _bounds(lengths)
    order = Windowed(bounds, read, window, (seed, 0))
    rows = order.part(0, int(bounds[-1])).numpy()
    assert sorted(rows.tolist()) == list(range(bounds[-1]))
    of_rows = np.searchsorted(bounds, rows, side="right") - 1
    position, seen = 0, []
    while position < len(rows):
        of_window = order.window(position)
        size = int(sum(lengths[i] for i in of_window))
        assert len(of_window) == 1 or read[of_window].sum() <= window
        assert set(of_rows[position : position + size]) == set(of_window)
        assert order.end_of_window(position) == position + size
        seen += of_window.tolist()
        position += size
        if position < len(rows):  # as many units as fit
            assert read[of_window].sum() + read[order.window(position)[0]] > window
    assert sorted(seen) == list(range(len(lengths)))
    for start, stop in ((0, min(3, len(rows))), (len(rows) // 2, len(rows)), (1, 1)):
        assert order.part(start, stop).tolist() == rows[start:stop].tolist()


def test_a_stream_of_units_is_shared_and_resumed_like_any_other() -> None:
    units = _units([5, 7, 1, 8, 4], 12)
    whole = Stream(25, 8, 3, units=units)
    parts = [Stream(25, 8, 3, rank=r, world_size=4, units=units) for r in range(4)]
    batches = [whole[t] for t in range(25)]
    assert torch.equal(Stream(25, 8, 3, units=units)[11], batches[11])
    for t in range(25):
        assert torch.equal(torch.cat([part[t] for part in parts]), batches[t])
    for epoch in torch.cat(batches).reshape(-1, 25):
        assert epoch.sort().values.tolist() == list(range(25))
    assert not torch.equal(torch.cat(batches)[:25], torch.cat(batches)[25:50])


@pytest.mark.parametrize("window", [4, 100])
def test_each_row_is_as_likely_at_each_position(window: int) -> None:
    """χ² over 4,000 seeds at α = 1e-6; and rows of two units follow each other only where a window holds both."""
    bounds = _bounds([2, 2, 2])
    drawn = torch.stack(
        [Windowed(bounds, np.diff(bounds), window, (seed, 0)).part(0, 6) for seed in range(4000)]
    ).numpy()
    for position in range(6):
        assert scipy.stats.chisquare(np.bincount(drawn[:, position], minlength=6)).pvalue > 1e-6
    apart = (drawn[:, 0] // 2 != drawn[:, 1] // 2).mean()
    expected = 4 / 5 if window == 100 else 2 / 3  # of 5 others 4, of the 3 others in a window of two units 2
    assert abs(apart - expected) < 5 * (expected * (1 - expected) / 4000) ** 0.5


def test_what_is_read_ahead_is_the_window_and_the_one_that_follows() -> None:
    bounds = _bounds([5, 7, 1, 8, 4])
    stream = Stream(25, 8, 3, units=_units([5, 7, 1, 8, 4], 12))
    rows = np.concatenate([stream[t].numpy() for t in range(60)])
    units = np.searchsorted(bounds, rows, side="right") - 1
    for step in range(30):
        windows = stream.windows_at(step)
        assert windows is not None
        now, following = (set(np.searchsorted(bounds, first, side="right") - 1) for first in windows)
        last = 8 * (step + 1) - 1
        assert units[last] in now
        first = next(i for i in range(last, len(rows)) if units[i] in following and i % 25 in _ends(stream, i // 25))
        assert set(units[first : first + sum(np.diff(bounds)[list(following)])]) == following


def _ends(stream: Stream, epoch: int) -> set[int]:
    """The first positions of the windows of an epoch."""
    order = Windowed(stream.units.bounds, stream.units.read, stream.units.window, (stream.seed, epoch))
    found, position = {0}, 0
    while position < 25:
        position = order.end_of_window(position)
        found.add(position)
    return found
