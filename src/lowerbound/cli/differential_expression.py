"""`lowerbound differential-expression`: genes that differ between groups of cells."""

from __future__ import annotations

import click

from lowerbound.cli.options import covariates_option, force_option
from lowerbound.cli.text import say

__all__ = ["differential_expression"]


@click.command(short_help="Find the genes that differ between groups of cells.")
@click.argument("run")
@click.option("--data", metavar="FILE", help="The cells. [default: the file that the run was fitted to]")
@covariates_option
@click.option("--groups", required=True, metavar="COLUMN", help="A column of obs.")
@click.option("--first", metavar="NAME", help="A group. [default: each group in turn]")
@click.option("--against", metavar="NAME", help="Another group. [default: the rest of the cells]")
@click.option(
    "--delta",
    type=click.FloatRange(0, min_open=True),
    default=0.25,
    show_default=True,
    help="The least difference of log2 of the expression that counts.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Of expected false discoveries.",
)
@click.option("--num-draws", type=click.IntRange(1), default=5000, show_default=True, help="Pairs of cells.")
@click.option("--out", required=True, metavar="FILE", help="A .csv or .parquet file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def differential_expression(
    run: str,
    data: str | None,
    covariates: dict[str, str] | None,
    groups: str,
    first: str | None,
    against: str | None,
    delta: float,
    level: float,
    num_draws: int,
    out: str,
    force: bool,
    seed: int,
) -> None:
    """Write a row for each gene under RUN, the most probable differences first.

    `probability` is that of |log2 of the ratio of expressions| > delta in a pair of cells of both groups, decoded under
    the same covariates, and `bayes_factor` the logarithm of its odds. `differential` says whether the gene belongs to
    the longest list whose expected fraction of false discoveries is at most the level.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_table
    from lowerbound.data.given import column_of
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, data, ".csv", ".parquet", force=force)
    fitted = fitted_of(opened)
    file = data if data is not None else opened.config["data"].get("path")
    if file is None:
        raise click.UsageError(f"{fitted.called} was not fitted to a file; name the cells with --data.")
    frame = fitted.differential_expression(
        fitted.rows(file, covariates=covariates),
        column_of(file, groups, fitted.schema),
        first,
        against,
        delta=delta,
        level=level,
        num_draws=num_draws,
        seed=seed,
    )
    write_table(path, frame.reset_index())
    count = int(frame["differential"].to_numpy().sum())
    say(f"Wrote {count:,} differential genes of {len(frame):,} to {path}")
