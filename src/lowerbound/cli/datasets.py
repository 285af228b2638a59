"""`lowerbound datasets`: the data sets known by name."""

from __future__ import annotations

import click

__all__ = ["datasets"]


@click.command()
def datasets() -> None:
    """List the data sets known by name.

    A data set that is not present is downloaded at its first use, from its publisher, and checked. It is kept in the
    folder $LOWERBOUND_DATA, or, where that is not set, in the cache of this user (~/.cache/lowerbound on Linux).
    """
    from rich.table import Table

    from lowerbound.cli.terminal import open_console
    from lowerbound.data import describe
    from lowerbound.data.download import FOLDER_VARIABLE

    table = Table(box=None, pad_edge=False, caption_justify="left")
    for heading in ("name", "training + test rows", "kind", "where from", "licence", "present"):
        table.add_column(heading, overflow="fold")
    rows = describe()
    for row in rows:
        table.add_row(row.name, row.size, row.kind, row.origin, row.licence, "yes" if row.present else "no")
    console = open_console()
    console.print(table)
    if not all(row.present for row in rows):
        console.print(
            f"\nWhat is not present is downloaded at its first use, to ${FOLDER_VARIABLE} if that is set.",
            markup=False,
        )
