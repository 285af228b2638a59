"""`lowerbound coherence`: whether what one modality generates has the class of the other."""

from __future__ import annotations

import click

from lowerbound.cli.text import printable, say

__all__ = ["coherence"]


@click.command(short_help="Tell whether generated modalities agree.")
@click.argument("run")
@click.option("--of", required=True, metavar="COLUMN", help="The column of classes.")
@click.option("--num-rows", type=click.IntRange(1), default=2000, show_default=True, help="Test rows, at most.")
@click.option("--num-draws", type=click.IntRange(1), default=2000, show_default=True, help="Draws of all blocks.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def coherence(run: str, of: str, num_rows: int, num_draws: int, seed: int) -> None:
    """Print the share of test rows of RUN in which a block, generated from another, has the class of that row.

    The class of a block is the column itself where the block holds it. For other blocks a classifier is trained on the
    training rows, whose share of right answers on test rows is printed beside. `joint` is the share of draws from the
    prior in which all blocks have the same class.
    """
    from rich.table import Table

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    fitted = fitted_of(Run.open(run))
    found = fitted.coherence(of, num_rows=num_rows, num_draws=num_draws, seed=seed)
    title = f"Coherence of {of} in {found.num_rows:,} test rows, by one z ~ q(z | given)"
    table = Table(title=printable(title), title_justify="left", pad_edge=False)
    for heading in ("given", "generated", "coherent", "classifier right"):
        table.add_column(heading, justify="left" if heading in ("given", "generated") else "right")
    for given, others in found.given.items():
        for name, share in others.items():
            table.add_row(printable(given), printable(name), f"{share:.3f}", f"{found.accuracy[name]:.3f}")
    table.add_row("nothing", "all (joint)", f"{found.joint:.3f}", "")
    open_console().print(table)
    say(f"The most frequent class has a share of {found.chance:.3f}.")
