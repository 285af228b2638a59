"""The course of a fit of a prior to latents: its learning rate, and which of its steps are on −log p(z).

A loss such as that of flow matching is cheap and noisy: the last tenths of a nat of log p(z) drown in the noise of its
targets. −log p(z) has no such noise, and a step on it costs several times as much. So a prior with a loss of its own
has that in the first half of the steps and −log p(z) in the second. In each part the rate falls to a hundredth by half
a cosine, and the second starts where the first did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lowerbound.schedules import Cosine

__all__ = ["Course"]

_LAST_RATE = 0.01


@dataclass(frozen=True)
class Course:
    """The learning rate of every step, and which steps minimise −log p(z).

    Arguments:
        rate: of the first step of either part.
        num_steps: of the whole fit.
        has_own_loss: whether the first half of the steps is by a loss of the prior's own; else all are on −log p(z).

    >>> course = Course(6e-3, 2000, has_own_loss=True)
    >>> course.closes(999), course.closes(1000), course(1000)
    (False, True, 0.006)
    """

    cites: ClassVar[tuple[str, ...]] = ()

    rate: float
    num_steps: int
    has_own_loss: bool = False

    @property
    def begin(self) -> int:
        """The first step, counted from 0, that minimises −log p(z)."""
        return self.num_steps // 2 if self.has_own_loss else 0

    def closes(self, step: int) -> bool:
        """Whether this step, counted from 0, minimises −log p(z)."""
        return step >= self.begin

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        first, last = (self.begin, self.num_steps) if self.closes(step) else (0, self.begin)
        return Cosine(self.rate, self.rate * _LAST_RATE, max(1, last - first))(step - first)

    @property
    def told(self) -> str:
        """A sentence for the user."""
        if not self.begin:
            return f"The prior learns by −log p(z), at a rate that falls from {self.rate:g} to a hundredth."
        return (
            f"Of {self.num_steps:,} steps the prior learns by its own loss for {self.begin:,} and by −log p(z) for "
            f"{self.num_steps - self.begin:,}, in which patience counts; in both parts its rate falls from "
            f"{self.rate:g} to a hundredth."
        )
