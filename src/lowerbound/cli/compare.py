"""`lowerbound compare`: several runs on the same test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from rich.console import Console

    from lowerbound.verbs.comparison import Comparison

__all__ = ["compare"]


@click.command(short_help="Compare runs on the same test rows.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN ...")
@click.option("--num-samples", type=click.IntRange(1), default=1000, show_default=True, help="S of L_S.")
@click.option("--limit", type=click.IntRange(2), help="Score the first rows only.")
@click.option(
    "--out",
    metavar="FILE.html",
    help="Another .html file. [default: comparison.html of the first run, which is replaced]",
)
@force_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def compare(
    runs: tuple[str, ...], num_samples: int, limit: int | None, out: str | None, force: bool, as_json: bool, seed: int
) -> None:
    """Score each RUN on the test rows of their common data, and say how far each is from the best.

    Differences are taken row by row, with their standard errors. A page with the curves of training and with what the
    plans differ in is written. Runs of other data, of other test rows or in other units are refused.
    """
    import json
    from pathlib import Path

    import lowerbound.verbs.comparison as comparing
    from lowerbound.cli.output import check_out
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.report import write_comparison
    from lowerbound.runs import Run

    path = Path(runs[0]) / "comparison.html" if out is None else Path(out)
    if out is not None:
        first, *others = (Run.open(run) for run in runs)
        check_out(path, first, None, ".html", force=force, others=others)
    console = None if as_json else open_console()
    with CountProgress(console, "Scoring test rows") as progress:
        found = comparing.compare(*runs, num_samples=num_samples, limit=limit, seed=seed, progress=progress)
    write_comparison(found, path, new=out is not None and not force)
    if console is None:
        click.echo(json.dumps(_to_json(found), indent=2))
    else:
        _print(console, found)
        say(f"Page: {path}")


def _to_json(found: Comparison) -> dict[str, Any]:
    import dataclasses

    columns = zip(found.names, found.means.tolist(), found.standard_errors.tolist(), found.differences, strict=True)
    return {
        "data": found.data,
        "num_data": found.scores.shape[1],
        "num_samples": found.num_samples,
        "units": found.units,
        "best": found.names[found.best],
        "runs": [
            {
                "run": name,
                "log_evidence": mean,
                "log_evidence_standard_error": error,
                "difference": dataclasses.asdict(difference),
            }
            for name, mean, error, difference in columns
        ],
        "settings": {name: dict(zip(found.names, values, strict=True)) for name, values in found.settings.items()},
        "note": found.note,
    }


def _print(console: Console, found: Comparison) -> None:
    """The scores, the differences, and what the plans differ in."""
    from rich.table import Table

    from lowerbound.cli.text import printable
    from lowerbound.report import setting_words

    title = f"L_{found.num_samples:,} of {found.scores.shape[1]:,} test rows of {found.data}, {found.units}"
    table = Table(title=printable(title), title_justify="left", pad_edge=False)
    table.add_column("run")
    for heading in ("nats", "± s.e.", "to the best", "± s.e.", "p"):
        table.add_column(heading, justify="right")
    columns = zip(found.names, found.means, found.standard_errors, found.differences, strict=True)
    for number, (name, mean, error, d) in enumerate(columns):
        apart = (
            ("best", "", "")
            if number == found.best
            else (f"{d.mean:+.2f}", f"{d.standard_error:.2f}", f"{d.p_value:.2g}")
        )
        table.add_row(printable(name), f"{mean:.2f}", f"{error:.2f}", *apart)
    console.print(table)
    console.print(found.note)
    if found.settings:
        plans = Table(title="What the plans differ in", title_justify="left", pad_edge=False)
        for heading in ("setting", *found.names):
            plans.add_column(printable(heading))
        for name, values in found.settings.items():
            plans.add_row(name, *(printable(setting_words(value)) for value in values))
        console.print(plans)
