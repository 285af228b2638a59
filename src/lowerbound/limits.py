"""The most repetitions that one may ask for, far beyond what is useful: more would not end within weeks."""

from __future__ import annotations

__all__ = [
    "MOST_CODED",
    "MOST_GROUPS",
    "MOST_ITERATIONS",
    "MOST_LAYERS",
    "MOST_REPLICATES",
    "MOST_SAMPLES",
    "MOST_STEPS",
    "require_at_most",
]

MOST_STEPS = 10**9
"""Of training: at a millisecond a step, twelve days."""

MOST_ITERATIONS = 10**6
"""Of a loop inside a step or for one batch, such as those of inference."""

MOST_LAYERS = 256
"""Of a flow or a net: ten times as many as are published."""

MOST_GROUPS = 1000
"""Of latents on a path: ten times as many as are published."""

MOST_SAMPLES = 10**7
"""Drawn for one row in an evaluation."""

MOST_REPLICATES = 10**5
"""Data sets of the size of the test rows that a model makes."""

MOST_CODED = 10**9
"""Numbers of one file of rows that are coded without loss, of which each takes eight bytes of memory."""


def require_at_most(owner: str, most: int, **counts: int) -> None:
    """Refuse a number of repetitions that would not end.

    >>> require_at_most("HMC", MOST_ITERATIONS, num_warmup=300)

    Raises:
        ValueError: naming the first that is too large, and the limit.
    """
    for name, count in counts.items():
        if count > most:
            shown = f"{count:,}" if count < 10**18 else "a number of 19 digits or more"
            raise ValueError(f"{owner} got {name}={shown} and takes at most {most:,}; take fewer.")
