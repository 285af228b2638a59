"""`lowerbound diagnose`: the problems of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.options import own_data_option
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from lowerbound.diagnosis import Diagnosis, Finding

__all__ = ["diagnose"]


@click.command(short_help="Find the problems of a run, with a remedy for each.")
@click.argument("run")
@own_data_option
@click.option("--against", metavar="DATA", help="Other data that the model should find unlikely: a name or a file.")
@click.option("--num-rows", type=click.IntRange(2), default=500, show_default=True, help="Held-out rows, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def diagnose(run: str, data: str | None, against: str | None, num_rows: int, as_json: bool, seed: int) -> None:
    """Examine RUN for posterior collapse, holes, gaps of inference, imbalance, overfitting, dispersion and noise.

    Each finding has its evidence with a standard error, and a command to run if the problem is present. The page with
    pictures is written to RUN/diagnosis.html.
    """
    import json

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.others import Other, other_data
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.diagnosis import rows_of
    from lowerbound.runs import Run

    opened = Run.open(run)
    fitted = fitted_of(opened, data)
    rows = other_data(fitted, Other(against))
    console = None if as_json else open_console()
    x, context = (None, None) if rows is None else rows_of(fitted, rows, slice(-rows.num_test, None), seed)
    with CountProgress(console, "Examining") as progress:
        diagnosis = fitted.diagnose(
            x_against=x,
            context_against=context,
            against="other data" if against is None else against,
            num_rows=num_rows,
            seed=seed,
            progress=progress,
        )
    path = _write(diagnosis, opened.path / "diagnosis.html")
    if console is None:
        click.echo(json.dumps(_to_json(diagnosis), indent=2))
    else:
        _print(console, diagnosis)
        say(f"Page: {path}")


def _write(diagnosis: Diagnosis, path: Path) -> Path:
    from lowerbound.report import write_diagnosis

    write_diagnosis(diagnosis, path)
    return path


def _to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Plain values without the pictures; null for an open end of a healthy range."""
    return {
        "run": diagnosis.title,
        "num_held_out": diagnosis.num_held_out,
        "findings": [_plain(finding) for finding in diagnosis.findings],
    }


def _plain(finding: Finding) -> dict[str, Any]:
    import dataclasses
    import math

    names = ("name", "present", "sentence", "remedy")
    plain: dict[str, Any] = {name: getattr(finding, name) for name in names}
    evidence = None if finding.evidence is None else dataclasses.asdict(finding.evidence)
    if evidence is not None:
        evidence = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in evidence.items()}
    return {**plain, "evidence": evidence}


def _print(console: Console, diagnosis: Diagnosis) -> None:
    """The table, a sentence for each finding, and the remedies of those that are present."""
    from rich.table import Table

    from lowerbound.report import format_evidence, format_range, verdict

    table = Table(title=f"{diagnosis.num_held_out:,} test rows", title_justify="left", pad_edge=False)
    for heading in ("finding", "", "evidence ± s.e.", "healthy"):
        table.add_column(heading)
    for finding in diagnosis.findings:
        table.add_row(finding.name, verdict(finding), format_evidence(finding.evidence), format_range(finding.evidence))
    console.print(table)
    for finding in diagnosis.findings:
        console.print(f"{finding.name}: {finding.sentence}", markup=False)
        if finding.remedy is not None:
            console.print(f"  {finding.remedy}", markup=False)
