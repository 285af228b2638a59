"""What the training loop tells its caller after each logging interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Record"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The results of a logging interval.

    Attributes:
        step: optimisation steps taken so far.
        epoch: passes over the data so far.
        seconds: time spent training so far, evaluation and earlier parts of a resumed run included.
        learning_rate: of the last step.
        terms: mean over the interval of each term of the loss; `bound` and its parts are nats per datum.
        gradient_norm: mean over the interval of the norm of the whole gradient, before clipping.
        held_out: the terms on held-out data, if evaluated here.
        is_best: whether the held-out bound is the best so far.
        stopped: why training ends here before its last step, or None.
        note: what was decided up to here (what a start without steps chose, whether steps are compiled), or None.
        skipped: updates that were left out so far because of their gradient's norm (`skipping`).
        waited: seconds of them that steps waited for rows on disk; 0 for rows in memory.
        stage: 1, or 2 in the second training of a recipe that has one.
    """

    step: int
    epoch: float
    seconds: float
    learning_rate: float
    terms: dict[str, float]
    gradient_norm: float
    held_out: dict[str, float] | None = None
    is_best: bool = False
    stopped: str | None = None
    note: str | None = None
    skipped: int = 0
    waited: float = 0.0
    stage: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
