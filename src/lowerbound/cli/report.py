"""`lowerbound report`: write report.html into a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option, own_data_option
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from pathlib import Path

    from lowerbound.fitted import Fitted

__all__ = ["report", "write"]


@click.command(short_help="Write the report of a run.")
@click.argument("run")
@own_data_option
@click.option("--out", metavar="FILE", help="Another .html file. [default: RUN/report.html, which is replaced]")
@force_option
def report(run: str, data: str | None, out: str | None, force: bool) -> None:
    """Write RUN/report.html: curves, samples, reconstructions, latents and scores on one page."""
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.runs import Run

    opened = Run.open(run)
    if out is not None:
        check_out(Path(out), opened, None, ".html", force=force)
    fitted = fitted_of(opened, data)
    say(f"Report: {write(fitted, opened.path) if out is None else fitted.report(out, force=force)}")


def write(fitted: Fitted, folder: Path) -> Path:
    """Write the report of a fitted model into its folder and return its path."""
    return fitted.report(folder / "report.html")
