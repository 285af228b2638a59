"""Other data than a run's own, as its model reads them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lowerbound.cli.options import covariates_option
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from lowerbound.data import Rows
    from lowerbound.fitted import Fitted

__all__ = ["Other", "other_data", "other_data_options", "tell_all_are_taken"]


@dataclass(frozen=True)
class Other:
    """What the user said of other data: its file or name, labels, array and covariates; None where nothing was said."""

    data: str | None = None
    label: str | None = None
    array: str | None = None
    covariates: dict[str, str] | None = None


def other_data_options(data: str, label: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """--data, --label, --array and --covariates of a command, which gets them as `other`.

    Arguments:
        data: the help of --data.
        label: what becomes of labels.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_other(
            *args: Any,
            data: str | None,
            label: str | None,
            array: str | None,
            covariates: dict[str, str] | None,
            **named: Any,
        ) -> None:
            command(*args, other=Other(data, label, array, covariates), **named)

        for option in (
            covariates_option,
            click.option(
                "--array", metavar="NAME", help="Array or layer of --data that holds the rows. [default: as in the fit]"
            ),
            click.option("--label", help=f"Column (or array) of labels in --data{label}"),
            click.option("--data", help=data),
        ):
            option(with_other)
        return with_other

    return decorate


def other_data(fitted: Fitted, other: Other) -> Rows | None:
    """The data of --data, matched to the columns and classes of the run; None for the run's own.

    Raises:
        ValueError: they cannot be read, or do not fit the model.
        UsageError: --label, --array or --covariates without --data.
    """
    from lowerbound.cli.described import describe_data
    from lowerbound.data.given import rows_under

    if other.data is None:
        for name in ("label", "array", "covariates"):
            if getattr(other, name) is not None:
                raise click.UsageError(f"--{name} goes with --data; the run's own data is read as in its fit.")
        return None
    described = describe_data(other.data, label=other.label, array=other.array)
    place = described.get("path") or other.data
    rows = rows_under(place, fitted.schema, label=other.label, array=other.array, covariates=other.covariates)
    for note in rows.notes:
        say(note, err=True)
    return rows


def tell_all_are_taken(rows: Rows, count: int) -> None:
    """Say that there are fewer rows than --count asks for, if the user asked; when nothing can be refused any more."""
    asked = click.get_current_context().get_parameter_source("count") is not ParameterSource.DEFAULT
    if asked and count > len(rows.x):
        say(f"There are {len(rows.x):,} rows, fewer than --count asks for; all of them are taken.", err=True)
