"""The course of a fit of a prior with a loss of its own: that loss first, −log p(z) itself in the last steps.

A loss such as that of flow matching is cheap and noisy: the last hundredths of a nat of log p(z) drown in the noise of
its targets. −log p(z) has no such noise, and a step on it costs many times as much, so that it takes the last steps
alone: a tenth of all, at most three hundred. In both parts the rate falls to a hundredth by half a cosine. The second
starts where the first did: Adam has seen gradients with noise, so that its steps on those without are short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lowerbound.schedules import Cosine

__all__ = ["Course"]

_CLOSING_STEPS, _LAST_RATE = 300, 0.01


@dataclass(frozen=True)
class Course:
    """The learning rate of every step, and which steps minimise −log p(z).

    Arguments:
        rate: of the first step of either part.
        num_steps: of the whole fit; fewer than ten have no closing.

    >>> course = Course(6e-3, 2000)
    >>> course.closes(1799), course.closes(1800), course(1800)
    (False, True, 0.006)
    """

    cites: ClassVar[tuple[str, ...]] = ()

    rate: float
    num_steps: int

    @property
    def closing(self) -> int:
        """How many steps minimise −log p(z)."""
        return min(_CLOSING_STEPS, self.num_steps // 10)

    def closes(self, step: int) -> bool:
        """Whether this step, counted from 0, minimises −log p(z)."""
        return step >= self.num_steps - self.closing

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        before = self.num_steps - self.closing
        begin, length = (before, self.closing) if self.closes(step) else (0, before)
        return Cosine(self.rate, self.rate * _LAST_RATE, max(1, length))(step - begin)

    @property
    def told(self) -> str:
        """A sentence for the user."""
        if not self.closing:
            return (
                f"The prior learns by its own loss at the rate {self.rate:g}, falling; with ten steps or more it would "
                "end by −log p(z)."
            )
        return (
            f"The prior learns by its own loss, and in the last {self.closing:,} of {self.num_steps:,} steps by "
            f"−log p(z); in both parts its rate falls from {self.rate:g} to a hundredth."
        )
