"""Warnings of the library as sentences on stderr, where Python would show a line of its own source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lowerbound.cli.text import say

__all__ = ["own_warnings_said", "warnings_as_sentences"]


@contextmanager
def warnings_as_sentences() -> Iterator[None]:
    """Inside, what is not to be trusted or left out is said on stderr, each sentence once; the command goes on."""
    from lowerbound.data.remarks import DataWarning
    from lowerbound.inference import InferenceWarning
    from lowerbound.verbs.language_baseline import BaselineWarning

    ours = (InferenceWarning, BaselineWarning, DataWarning)
    with warnings.catch_warnings(record=True) as caught:
        for category in ours:
            warnings.simplefilter("always", category)
        yield
    for sentence in dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, ours)):
        say(f"Warning: {sentence}", err=True)
    for one in caught:
        if not issubclass(one.category, ours):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextmanager
def own_warnings_said() -> Iterator[None]:
    """Inside, a warning of a class of this library is said on stderr at once; others are shown as Python does."""
    plain = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__module__.startswith("lowerbound."):
            say(f"Warning: {message}", err=True)
        else:
            plain(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = plain
