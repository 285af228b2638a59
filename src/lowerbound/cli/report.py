"""`lowerbound report`: write report.html into a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from lowerbound.runs import Run

__all__ = ["report", "write"]


@click.command(short_help="Write the report of a run.")
@click.argument("run")
def report(run: str) -> None:
    """Write RUN/report.html: curves, samples, reconstructions, codes and scores on one page."""
    from pathlib import Path

    from lowerbound.runs import Run

    click.echo(f"Report: {write(Run.open(Path(run)))}")


def write(run: Run) -> Path:
    """Write the report of a finished run and return its path."""
    from lowerbound.checkpoint import CheckpointError
    from lowerbound.report import collect, write_report

    path, contents = run.path / "report.html", collect(run)
    try:
        write_report(contents, path)
    except OSError as error:
        raise CheckpointError(
            f"Could not write {path} ({error.strerror or error}); free some space and try again."
        ) from error
    return path
