"""`lowerbound search`: molecules with more of a property."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

__all__ = ["search"]


@click.command(short_help="Find molecules with more, or less, of a property.")
@click.argument("run")
@click.option(
    "--property",
    "of",
    type=click.Choice(["logp", "qed", "sa", "weight"]),
    default="qed",
    show_default=True,
    help="Computed by RDKit: lipophilicity, likeness to drugs, how hard it is to make, weight.",
)
@click.option("--minimize", is_flag=True, help="Look for less of it.")
@click.option("--draws", type=click.IntRange(2), default=200, show_default=True, help="Molecules at each distance.")
@click.option("--count", type=click.IntRange(1), default=10, show_default=True, help="Print so many of the best.")
@click.option("--out", metavar="FILE", help="Write all to a .csv or .parquet file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def search(run: str, of: str, minimize: bool, draws: int, count: int, out: str | None, force: bool, seed: int) -> None:
    """Shift draws z ~ p(z) of RUN in the direction in which a linear regressor on codes says that a property grows.

    Printed are how much of the property the codes of test molecules explain, the mean of the property at each distance,
    where distance 0 are plain samples, and the best molecules that were drawn. The property is computed, not predicted.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_table
    from lowerbound.runs import Run

    opened = Run.open(run)
    if out is not None:
        check_out(Path(out), opened, None, ".csv", ".parquet", force=force)
    found = fitted_of(opened).search(of, minimize=minimize, num_draws=draws, seed=seed)
    say(f"The codes explain {found.r_squared:.0%} of the variance of {of} among test molecules.")
    means = zip(found.shifts, found.means, found.standard_errors, strict=True)
    listed = ", ".join(f"{mean:.3f} ± {error:.3f} at {shift:g}" for shift, mean, error in means)
    say(f"Mean {of} by distance in standard deviations of the prior: {listed}.")
    for row in found.best.head(count).itertuples(index=False):
        say(f"{row[1]:.3f}  {row[0]}")
    if out is not None:
        write_table(Path(out), found.best)
        say(f"Wrote {len(found.best)} molecules to {out}")
