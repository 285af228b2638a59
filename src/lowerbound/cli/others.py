"""Other data than a run's own, as its model reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.text import say

if TYPE_CHECKING:
    from lowerbound.data import Rows
    from lowerbound.fitted import Fitted

__all__ = ["other_data"]


def other_data(fitted: Fitted, data: str | None, label: str | None) -> Rows | None:
    """The data of --data, matched to the columns and classes of the run; None for the run's own.

    Raises:
        ValueError: they cannot be read, or do not fit the model.
        UsageError: --label without --data.
    """
    from lowerbound.cli.described import describe_data
    from lowerbound.data.given import rows_under

    if data is None:
        if label is not None:
            raise click.UsageError("--label goes with --data; the run's own data has the labels of its fit.")
        return None
    described = describe_data(data, label=label)
    rows = rows_under(described.get("path") or data, fitted.schema, label=label)
    for note in rows.notes:
        say(note, err=True)
    return rows
