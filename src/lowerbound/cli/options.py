"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Sequence

import click

__all__ = ["covariates_option", "force_option", "own_data_option", "values_of"]


def values_of(words: Sequence[str], option: str, columns: Sequence[str] = ()) -> dict[str, str]:
    """Values by column, from words such as "sex=female".

    Arguments:
        words: the words.
        option: that they were given with.
        columns: the names that there are, which may hold "=" themselves; the longest that fits is meant.

    Raises:
        UsageError: a word without "=", or a column that is named twice.
    """
    values: dict[str, str] = {}
    for word in words:
        known = [name for name in columns if word.startswith(f"{name}=")]
        name = max(known, key=len, default=word.partition("=")[0])
        value = word[len(name) + 1 :]
        if not (name and value):
            raise click.UsageError(f"{option} is {word!r}; expected COLUMN=VALUE, such as sex=female.")
        if name in values:
            raise click.UsageError(f"{option} names the column {name!r} twice; give one value.")
        values[name] = value
    return values


def _covariates(context: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, str] | None:
    return None if value is None else values_of(value.split(","), "--covariates")


force_option = click.option("--force", is_flag=True, help="Overwrite a file that is there already.")
own_data_option = click.option(
    "--data", metavar="DATA", help="The data of the fit, of a model that was fitted in Python to rows without a file."
)
covariates_option = click.option(
    "--covariates",
    callback=_covariates,
    metavar="NAME=VALUE,...",
    help="Values of covariates for all rows of --data, such as batch=a for cells of an unseen batch.",
)
