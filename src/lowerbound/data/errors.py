"""The error of the data layer, and how names appear in messages.

Kept apart from `lowerbound.data.checks`, so that listing the data sets imports neither numpy nor
torch.
"""

import difflib
from collections.abc import Iterable

__all__ = ["DataError", "clipped", "nearest"]


class DataError(ValueError):
    """Data that cannot be used. The message is one sentence: what was got, what was expected, and what to do."""


def nearest(name: str, choices: Iterable[str], *, most: int = 3) -> list[str]:
    """The names among `choices` that look most like `name`, best first, at most `most` of them.

    If nothing is similar, these are the first `most` choices, so that the caller always has names to show.

    >>> nearest("fashion_mnist", ["mnist", "fashion-mnist", "digits"], most=1)
    ['fashion-mnist']
    """
    names = [str(choice) for choice in choices]
    lowered = {choice.lower(): choice for choice in reversed(names)}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=most, cutoff=0.5)
    return [lowered[key] for key in close] or names[:most]


def clipped(text: str, most: int = 60) -> str:
    """A name from outside, short enough for a message."""
    return text if len(text) <= most else text[: most - 1] + "…"
