"""Weights that rise with the step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from lowerbound.protocols import Schedule
from lowerbound.schedules import Cyclical, Linear, Sigmoid


@pytest.mark.parametrize("schedule", [Linear(0.1, 1.0, 20), Sigmoid(0.1, 1.0, 20)])
def test_from_start_to_stop_and_then_still(schedule):
    values = [schedule(step) for step in range(31)]
    assert isinstance(schedule, Schedule)
    assert values[0] == 0.1
    assert all(a < b for a, b in pairwise(values[:21]))
    assert values[20:] == [1.0] * 11
    assert values[10] == pytest.approx(0.55)


def test_a_fall_is_a_rise_upside_down():
    for kind in (Linear, Sigmoid):
        assert [kind(2.0, 1.0, 8)(step) + kind(1.0, 2.0, 8)(step) for step in range(10)] == pytest.approx([3.0] * 10)


def test_linear_is_straight_and_the_sigmoid_is_logistic():
    line = [Linear(0.0, 1.0, 8)(step) for step in range(9)]
    assert [b - a for a, b in pairwise(line)] == pytest.approx([1 / 8] * 8)
    values = [Sigmoid(0.0, 1.0, 8)(step) for step in range(9)]
    logistic = [1 / (1 + math.exp(-12 * (step / 8 - 0.5))) for step in range(9)]
    ends = logistic[0], logistic[-1]
    assert values == pytest.approx([(value - ends[0]) / (ends[1] - ends[0]) for value in logistic])


def test_cycles_against_the_equation_of_fu_et_al():
    """β_t = f(τ) for τ ≤ R and 1 after, τ = mod(t − 1, T/M) / (T/M), with t counted from 1."""
    total, cycles, fraction = 120, 4, 0.5
    schedule = Cyclical(total // cycles, fraction)
    for t in range(1, total + 1):
        tau = ((t - 1) % (total / cycles)) / (total / cycles)
        assert schedule(t - 1) == pytest.approx(tau / fraction if tau <= fraction else 1.0)
    assert [schedule(step) for step in (0, 30, 60)] == [0.0] * 3
    assert Cyclical(4, fraction=1.0, start=1.0, stop=3.0)(6) == 2.0


@pytest.mark.parametrize("make", [lambda: Linear(0.0, 1.0, 0), lambda: Sigmoid(0.0, 1.0, 0), lambda: Cyclical(0)])
def test_no_steps_are_refused(make):
    with pytest.raises(ValueError, match="num_steps=0 and needs at least 1; use Constant"):
        make()


@pytest.mark.parametrize("fraction", [0.0, 1.5])
def test_a_part_of_a_cycle(fraction):
    with pytest.raises(ValueError, match="above 0 to 1"):
        Cyclical(4, fraction)
