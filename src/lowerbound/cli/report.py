"""`lowerbound report`: write report.html into a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from lowerbound.fitted import Fitted

__all__ = ["report", "write"]


@click.command(short_help="Write the report of a run.")
@click.argument("run")
def report(run: str) -> None:
    """Write RUN/report.html: curves, samples, reconstructions, latents and scores on one page."""
    from lowerbound.cli.opened import fitted_of
    from lowerbound.runs import Run

    opened = Run.open(run)
    click.echo(f"Report: {write(fitted_of(opened), opened.path)}")


def write(fitted: Fitted, folder: Path) -> Path:
    """Write the report of a fitted model into its folder and return its path."""
    return fitted.report(folder / "report.html")
