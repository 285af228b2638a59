"""`lowerbound datasets`: the data sets known by name."""

from __future__ import annotations

import click

__all__ = ["datasets"]


@click.command()
def datasets() -> None:
    """List the data sets known by name."""
    from rich.table import Table

    from lowerbound.cli.terminal import open_console
    from lowerbound.data import describe
    from lowerbound.data.download import FOLDER_VARIABLE

    table = Table(box=None, pad_edge=False, caption_justify="left")
    for heading in ("name", "rows to train on + to test on", "kind", "where from", "present"):
        table.add_column(heading, overflow="fold")
    rows = describe()
    for row in rows:
        table.add_row(row.name, row.size, row.kind, row.origin, "yes" if row.present else "no")
    console = open_console()
    console.print(table)
    if not all(row.present for row in rows):
        console.print(
            f"\nA file that is not present is looked for in ${FOLDER_VARIABLE} and then downloaded.", markup=False
        )
