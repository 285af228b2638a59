"""Which term of a loss its runs are read by, and whether it chooses weights.

bound          a bound of log p(x), nats per datum: held-out rows choose the weights by it
sample_score   minus a distance of samples and rows, where there is no bound: held-out rows choose the weights by it
estimate       an estimated bound, on either side of log p(x): it chooses nothing, and the last weights are kept
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

__all__ = ["Criterion", "chooses", "criterion_of", "described", "unit_of"]

Criterion: TypeAlias = Literal["bound", "sample_score", "estimate"]
_WORDS: dict[Criterion, str] = {
    "bound": "bound",
    "sample_score": "sample score (no bound)",
    "estimate": "estimate (no bound)",
}


def criterion_of(terms: Mapping[str, Any]) -> Criterion:
    """The name of that term, among the terms of a loss; "bound" where they have none of the others."""
    found: list[Criterion] = [name for name in _WORDS if name in terms]
    return found[0] if found else "bound"


def chooses(criterion: Criterion) -> bool:
    """Whether the best weights are those with its largest held-out value."""
    return criterion != "estimate"


def described(criterion: Criterion) -> str:
    """What people are told it is.

    >>> described("estimate")
    'estimate (no bound)'
    """
    return _WORDS[criterion]


def unit_of(criterion: Criterion) -> str:
    """What it is measured in."""
    return "distance in the data" if criterion == "sample_score" else "nats"
