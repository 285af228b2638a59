"""Warnings of the library as sentences on stderr, where Python would show a line of its own source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lowerbound.cli.text import printable

__all__ = ["warnings_as_sentences"]


@contextmanager
def warnings_as_sentences() -> Iterator[None]:
    """Inside, what is inferred and not to be trusted is said on stderr, each sentence once; the command goes on."""
    from lowerbound.inference import InferenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InferenceWarning)
        yield
    for sentence in dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, InferenceWarning)):
        click.echo(f"Warning: {printable(sentence)}", err=True)
    for one in caught:
        if not issubclass(one.category, InferenceWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
