"""Schedules of a positive number, such as the learning rate. All count steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lowerbound.protocols import Schedule

__all__ = ["Constant", "Cosine", "Exponential", "Milestones", "Warmup"]


@dataclass(frozen=True)
class Constant:
    """value, at every step."""

    cites: ClassVar[tuple[str, ...]] = ()

    value: float

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.value


@dataclass(frozen=True)
class Cosine:
    """From start to stop along half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5), then stop.

    >>> Cosine(1.0, 0.0, num_steps=10)(5)
    0.5
    """

    cites: ClassVar[tuple[str, ...]] = ("loshchilov2017sgdr",)

    start: float
    stop: float
    num_steps: int

    def __call__(self, step: int) -> float:
        """The value at a step."""
        done = min(step / self.num_steps, 1.0)
        return self.stop + (self.start - self.stop) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Exponential:
    """start · (stop/start)^(step/num_steps), then stop: a straight line on a logarithmic axis.

    >>> round(Exponential(1e-2, 1e-4, num_steps=2)(1), 6)
    0.001
    """

    cites: ClassVar[tuple[str, ...]] = ()

    start: float
    stop: float
    num_steps: int

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.start * (self.stop / self.start) ** min(step / self.num_steps, 1.0)


@dataclass(frozen=True)
class Milestones:
    """value · factor^(milestones passed).

    Burda et al. (2016, arXiv:1509.00519, §5) train in stages i = 0, …, 7 of 3^i passes at 1e-3 · 10^(−i/7):
    `Milestones(1e-3, (n, 4 * n, 13 * n, …), 10 ** (-1 / 7))` with n steps per pass.

    >>> Milestones(1.0, (10, 20), 0.5)(10)
    0.5
    """

    cites: ClassVar[tuple[str, ...]] = ("burda2016importance",)

    value: float
    milestones: tuple[int, ...]
    factor: float

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.value * self.factor ** sum(step >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class Warmup:
    """A schedule whose first num_steps rise linearly from 0."""

    cites: ClassVar[tuple[str, ...]] = ()

    schedule: Schedule
    num_steps: int

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.schedule(step) * min((step + 1) / max(self.num_steps, 1), 1.0)
