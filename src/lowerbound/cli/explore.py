"""`lowerbound explore`: the latent space of a run, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from rich.console import Console

    from lowerbound.explorer import Explorer

__all__ = ["explore"]


@click.command(short_help="Look at the latent space of a run in a browser.")
@click.argument("run")
@other_data_options(
    "Show the rows of another file or data set, all of it. [default: the run's test rows]",
    "; rows can be coloured by them.",
)
@click.option(
    "--num-rows", type=click.IntRange(2, 100_000), default=10_000, show_default=True, help="Rows on the map, at most."
)
@click.option("--out", metavar="FILE", help="Write the page to an .html file that needs no server, and end.")
@force_option
@click.option("--port", type=click.IntRange(0, 65535), help="Of this machine. [default: a free one]")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser. [default: yes]")
@click.option("--diagnose/--no-diagnose", "examined", default=True, help="Examine the model for --out. [default: yes]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def explore(
    run: str,
    other: Other,
    num_rows: int,
    out: str | None,
    force: bool,
    port: int | None,
    browser: bool,
    examined: bool,
    seed: int,
) -> None:
    """Show a map of the latents of RUN, with what the model makes of any point, at an address of this machine.

    The page shows rows at the mean of q(z | x), contours of the prior, regions where the prior has mass and no rows
    lie, walks between points, the neighbours of a row, and where a row of one's own lies. Ctrl-C ends it. Only
    this machine can open the address, and only with the token that is in it.

    With --out the page is one file with a part of this inside: a grid of decoded points, some rows, and the findings
    of diagnose, which may take minutes.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    opened, console = Run.open(run), open_console()
    if out is not None:
        if port is not None:
            raise click.UsageError("--port is of a served page and --out writes a file; leave one of them out.")
        check_out(Path(out), opened, other.data, ".html", force=force)
    fitted = fitted_of(opened)
    rows = other_data(fitted, other)
    with CountProgress(console, "Encoding") as progress:
        explorer = fitted.explore(rows, num_rows=num_rows, seed=seed, progress=progress)
    if out is None:
        _serve(explorer, port or 0, browser=browser)
        return
    if examined:
        _examine(explorer, console)
    with CountProgress(console, "Writing") as progress:
        explorer.write(out, force=force, progress=progress)
    say(f"Wrote the latent space of {len(explorer.mean)} rows to {out}")


def _examine(explorer: Explorer, console: Console) -> None:
    """Diagnose for the page; a model that is not examined gets a page without findings."""
    from lowerbound.cli.progress import CountProgress

    try:
        with CountProgress(console, "Examining") as progress:
            explorer.diagnose(progress)
    except ValueError as error:
        say(f"The page has no diagnosis: {error}", err=True)


def _serve(explorer: Explorer, port: int, *, browser: bool) -> None:
    import sys
    import webbrowser

    with explorer.serve(port) as server:
        say(f"Latent space of {len(explorer.mean)} rows: {server.address}")
        say("Ctrl-C ends it.", err=True)
        sys.stdout.flush()  # for a program that reads the address
        if browser:
            webbrowser.open(server.address)
        try:
            server.wait()
        except KeyboardInterrupt:
            say("Ended.", err=True)
