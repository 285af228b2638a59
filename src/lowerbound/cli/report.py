"""`lowerbound report`: write report.html into a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lowerbound.runs import Run

    opened = Run.open(run)
    click.echo(f"Report: {write(opened.fitted(), opened.path)}")


def write(fitted: Fitted, folder: Path) -> Path:
    """Write the report of a fitted model into its folder and return its path."""
    return fitted.report(folder / "report.html")
