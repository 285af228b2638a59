"""Numbers that change with the step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from lowerbound.schedules import Constant, Cosine, Exponential, Milestones, Warmup


@pytest.mark.parametrize("schedule", [Cosine(1.0, 0.1, 20), Exponential(1.0, 0.1, 20)])
def test_from_start_to_stop_and_then_still(schedule):
    values = [schedule(step) for step in range(31)]
    assert values[0] == 1.0
    assert all(a > b for a, b in pairwise(values[:21]))
    assert values[20:] == pytest.approx([0.1] * 11)


def test_midpoints():
    assert Cosine(1.0, 0.1, 20)(10) == pytest.approx(0.55)
    assert Exponential(1.0, 0.01, 20)(10) == pytest.approx(0.1)
    assert Constant(0.3)(10**6) == 0.3


def test_milestones_of_burda_et_al():
    """Eight stages of 3^i passes at 1e-3 · 10^(−i/7): 3280 passes in all."""
    ends, total = [], 0
    for i in range(7):
        total += 3**i
        ends.append(total)
    schedule = Milestones(1e-3, tuple(ends), 10 ** (-1 / 7))
    stages = [schedule(epoch) for epoch in range(3280)]
    for i in range(8):
        rate = 1e-3 * 10 ** (-i / 7)
        assert sum(math.isclose(value, rate) for value in stages) == 3**i
    assert schedule(3279) == pytest.approx(1e-4)


def test_warmup_rises_to_the_schedule_and_never_starts_at_zero():
    values = [Warmup(Constant(2.0), 4)(step) for step in range(6)]
    assert values == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert Warmup(Constant(2.0), 0)(0) == 2.0
    assert Warmup(Cosine(1.0, 0.0, 8), 4)(6) == Cosine(1.0, 0.0, 8)(6)
