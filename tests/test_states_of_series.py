"""States are found where there are states, and one law where there is one."""

from __future__ import annotations

import math

import numpy as np

from lowerbound.data.given import dataset_of
from lowerbound.fitting.planning import plan
from lowerbound.fitting.states_of_series import states_of

RNG = np.random.default_rng(0)


def regimes(count: int = 60, steps: int = 30) -> np.ndarray:
    """Three levels that last about ten steps."""
    stays = RNG.random((count, steps)) > 0.1
    state = RNG.integers(3, size=(count, steps))
    for t in range(1, steps):
        state[:, t] = np.where(stays[:, t], state[:, t - 1], state[:, t])
    return (4.0 * state + RNG.normal(size=state.shape))[:, :, None]


def walks(count: int = 60, steps: int = 30) -> np.ndarray:
    return RNG.normal(size=(count, steps, 1)).cumsum(1)


def test_levels_that_last_are_states_and_walks_have_one_law() -> None:
    found = states_of(regimes())
    assert found is not None
    assert found.number == 3
    assert found.are_better
    of_walks = states_of(walks())
    assert of_walks is not None
    assert not of_walks.are_better


def test_units_of_channels_change_nothing() -> None:
    x = regimes()
    one, other = states_of(x), states_of(1e-3 * x + 7)
    assert one is not None
    assert other is not None
    assert one.number == other.number
    assert math.isclose(one.ahead, other.ahead, rel_tol=1e-4)


def test_few_series_and_few_steps_say_nothing() -> None:
    assert states_of(regimes(5)) is None
    assert states_of(regimes(60, 3)) is None


def test_the_plan_says_states_and_their_reason() -> None:
    x = regimes()
    found = plan(dataset_of(x))
    assert (found.recipe, found.model["states"]) == ("hidden-markov", 3)
    assert "ahead of one law for all steps" in found.reasons["recipe"]
    assert plan(dataset_of(walks())).recipe == "mixture-of-factor-analysers"
    x[3, 5:9] = np.nan
    assert plan(dataset_of(x)).model["states"] == 3
    assert plan(dataset_of(x), "hidden-markov", states=4).model["states"] == 4
