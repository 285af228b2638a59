"""`lowerbound expression`: normalised expression of genes in cells."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option, values_of
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

__all__ = ["expression"]


@click.command(short_help="Write the normalised expression of cells.")
@click.argument("run")
@other_data_options("Another file of cells, all of them. [default: the run's test rows]", ", which is left out.")
@click.option("--given", multiple=True, metavar="NAME=VALUE", help="Decode every cell under this covariate: batch=a.")
@click.option(
    "--library-size", type=click.FloatRange(0, min_open=True), default=10_000, show_default=True, help="Counts a cell."
)
@click.option("--num-samples", type=click.IntRange(1), default=25, show_default=True, help="Draws of z for each cell.")
@click.option(
    "--own-counts",
    is_flag=True,
    help="Rates given the cell's own counts too, which keep what its latents do not say. [default: latents alone]",
)
@click.option("--out", required=True, metavar="FILE", help="A .csv or .parquet file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def expression(
    run: str,
    other: Other,
    given: tuple[str, ...],
    library_size: float,
    num_samples: int,
    own_counts: bool,
    out: str,
    force: bool,
    seed: int,
) -> None:
    """Write the expected counts of each gene in each cell under RUN, in a library of one size.

    With --given batch=a every cell is decoded as if it were of batch a, so that cells of several batches can be
    compared. --own-counts multiplies by (r + x) / (r + μ), the mean of the gamma rate of a negative binomial given the
    count x: closer to the cell, and noisier. The first column, `cell`, is the name of the cell.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_table
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, other.data, ".csv", ".parquet", force=force)
    fitted = fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
    frame = fitted.normalized_expression(
        rows,
        given=values_of(given, "--given"),
        library_size=library_size,
        num_samples=num_samples,
        own_counts=own_counts,
        seed=seed,
    )
    write_table(path, frame.rename_axis("cell").reset_index())
    say(f"Wrote the expression of {frame.shape[1]} genes in {len(frame)} cells of {rows.name} to {path}")
