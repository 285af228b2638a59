"""Schedules of a weight that rises during training, once or repeatedly. All count steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Cyclical", "Linear", "Sigmoid"]

_HALF_WIDTH = 6.0  # of the part of the logistic curve that is used: from sigmoid(−6) to sigmoid(6)


@dataclass(frozen=True)
class Linear:
    """From start to stop along a straight line, then stop.

    >>> Linear(0.0, 2.0, num_steps=4)(1)
    0.5
    """

    cites: ClassVar[tuple[str, ...]] = ()

    start: float
    stop: float
    num_steps: int

    def __post_init__(self) -> None:
        _require_steps(self.num_steps, "Linear")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return _between(self.start, self.stop, min(step / self.num_steps, 1.0))


@dataclass(frozen=True)
class Sigmoid:
    """From start to stop along a logistic curve, then stop (Bowman et al. 2016, arXiv:1511.06349, §3.1).

    The curve is cut off six units on either side of its middle and stretched, so that both end values are reached
    exactly.

    >>> Sigmoid(0.0, 2.0, num_steps=4)(2)
    1.0
    """

    cites: ClassVar[tuple[str, ...]] = ("bowman2016generating",)

    start: float
    stop: float
    num_steps: int

    def __post_init__(self) -> None:
        _require_steps(self.num_steps, "Sigmoid")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        done = min(step / self.num_steps, 1.0)
        # sigmoid(2a) − ½ = ½ tanh(a)
        risen = math.tanh(_HALF_WIDTH * (done - 0.5)) / math.tanh(_HALF_WIDTH / 2)
        return _between(self.start, self.stop, 0.5 + 0.5 * risen)


@dataclass(frozen=True)
class Cyclical:
    """Cycles of a linear rise from start to stop and a rest at stop (Fu et al. 2019, arXiv:1903.10145, eqs. 6–7).

        τ = (t mod T) / T,      a_t = min(τ / R, 1)

    Arguments:
        num_steps: T, steps of a cycle; training of N steps in M cycles has T = N / M.
        fraction: R, the part of a cycle that rises, above 0 and at most 1.
        start: the value at the beginning of each cycle.
        stop: the value at which it stays.

    >>> [Cyclical(4, fraction=0.5)(step) for step in range(5)]
    [0.0, 0.5, 1.0, 1.0, 0.0]
    """

    cites: ClassVar[tuple[str, ...]] = ("fu2019cyclical",)

    num_steps: int
    fraction: float = 0.5
    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        _require_steps(self.num_steps, "Cyclical")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"Cyclical got fraction={self.fraction} and needs a part of a cycle, above 0 to 1.")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        done = step % self.num_steps / (self.fraction * self.num_steps)
        return _between(self.start, self.stop, min(done, 1.0))


def _between(start: float, stop: float, risen: float) -> float:
    """Start at 0, stop at 1, both exactly."""
    return start * (1.0 - risen) + stop * risen


def _require_steps(num_steps: int, schedule: str) -> None:
    if num_steps < 1:
        raise ValueError(f"{schedule} got num_steps={num_steps} and needs at least 1; use Constant for no change.")
