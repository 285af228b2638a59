"""`lowerbound check`: test rows of a run against rows that it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.options import own_data_option
from lowerbound.cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from lowerbound.evaluate import Check, PredictiveChecks
    from lowerbound.fitted import Fitted

__all__ = ["check"]

_SHOWN = 12


@click.command(short_help="Compare test rows with rows that a run makes.")
@click.argument("run")
@own_data_option
@click.option("--limit", type=click.IntRange(2), help="The first test rows only.")
@click.option(
    "--num-replicates", type=click.IntRange(20), default=200, show_default=True, help="Data sets that it makes."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all statistics, instead of a table.")
@click.option("--seed", type=click.IntRange(0), help="Of all draws. [default: that of the fit]")
def check(run: str, data: str | None, limit: int | None, num_replicates: int, as_json: bool, seed: int | None) -> None:
    """Say in which statistics the test rows differ from as many rows that RUN makes, and how often its intervals hold.

    Of a table also which columns have values where the model does not expect them, alone and given the other columns.
    Pictures of these are in the report.
    """
    import json

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    fitted = fitted_of(Run.open(run), data)
    found = fitted.predictive_checks(limit=limit, num_replicates=num_replicates, seed=seed)
    if as_json:
        click.echo(json.dumps(_to_json(fitted, found), indent=2))
    else:
        _print(open_console(), fitted, found)


def _print(console: Console, fitted: Fitted, found: PredictiveChecks) -> None:
    from rich.table import Table

    from lowerbound.report import checks_in_words, ranks_in_words

    title = f"{len(found.ranks):,} test rows of {fitted.dataset.name} against {found.num_replicates} data sets made"
    table = Table(title=printable(title), title_justify="left", pad_edge=False)
    for heading in ("statistic", "test rows", "95 % of those made", "sd away", "p"):
        table.add_column(heading, justify="left" if heading == "statistic" else "right")
    for name, one in found.farthest[:_SHOWN]:
        low, high = one.interval
        table.add_row(
            printable(name, 60),
            one.in_words(one.observed),
            f"{one.in_words(low)} to {one.in_words(high)}",
            f"{one.distance:+.1f}",
            f"{one.p_value:.2g}",
        )
    console.print(table)
    say = [checks_in_words(found, of_numbers=not fitted.schema.is_written)]
    names = fitted.schema.column_names
    if names is not None:
        say.append(f"Each column: {ranks_in_words(found.ranks, names)}")
    if names is not None and found.conditional_ranks is not None:
        say.append(f"Each column given the others: {ranks_in_words(found.conditional_ranks, names)}")
    for sentence in say:
        console.print(printable(sentence), markup=False, highlight=False)


def _to_json(fitted: Fitted, found: PredictiveChecks) -> dict[str, Any]:
    coverage, names = found.coverage(), fitted.schema.column_names
    conditional = found.conditional_ranks
    return {
        "data": fitted.dataset.name,
        "num_rows": len(found.ranks),
        "num_replicates": found.num_replicates,
        "statistics": {
            name: {
                "test_rows": _value(one, one.observed),
                "interval": [_value(one, end) for end in one.interval],
                "p_value": one.p_value,
            }
            for name, one in found.farthest
        },
        "coverage": {
            f"{level:g}": value for level, value in zip(coverage.levels.tolist(), coverage.values.tolist(), strict=True)
        },
        "dispersion": float(found.dispersion.nanmean()),
        "ranks": None if names is None else _columns(found.ranks, names),
        "conditional_ranks": None if names is None or conditional is None else _columns(conditional, names),
    }


def _value(check: Check, value: float) -> float | str:
    """A number, or a date as text."""
    return value if check.format is None else check.in_words(value)


def _columns(ranks: Tensor, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Of the columns that are farthest from uniform."""
    from lowerbound.evaluate import least_uniform

    return {
        names[one.column]: {"difference": one.difference, "p_value": one.p_value, "num_rows": len(one.ranks)}
        for one in least_uniform(ranks, _SHOWN)
    }
