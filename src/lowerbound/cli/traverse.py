"""`lowerbound traverse`: what each latent does."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

__all__ = ["traverse"]


@click.command(short_help="Show what each latent of a run does.")
@click.argument("run")
@other_data_options("Measure on another file or data set. [default: the run's test rows]", ".")
@click.option(
    "--row", type=click.IntRange(0), help="Start from this row of the data, from 0. [default: the mean of all]"
)
@click.option("--steps", type=click.IntRange(2, 1000), default=7, show_default=True, help="Along each latent.")
@click.option(
    "--sd",
    type=click.FloatRange(0, min_open=True),
    help="Walk so many standard deviations to both sides. [default: quantiles of the latents, 2 % to 98 %]",
)
@click.option("--latents", type=click.IntRange(1), help="How many, the most active first. [default: all active]")
@click.option("--out", metavar="FILE", help="A .png, .gif, .csv, .parquet, .npz, .txt or .smi file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def traverse(
    run: str,
    other: Other,
    row: int | None,
    steps: int,
    sd: float | None,
    latents: int | None,
    out: str | None,
    force: bool,
    seed: int,
) -> None:
    """Move each latent of RUN alone and show what p(x | z) makes of it, the most active latent first.

    A latent is active if the rows differ in it: the variance of the mean of q(z | x) is above 0.01. Silent ones are
    named and not walked.

    Of tables a table for each latent is printed, with the columns that move most; a .csv or .parquet file has all of
    them, a row for each latent and step. A .png shows images in rows, one for each latent, or columns and series as
    lines; a .gif moves all latents at once, each in its own picture. Texts and molecules are printed.
    """
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.cli.walks import ENDINGS, check_walks, print_walks, write_walks
    from lowerbound.latent_space import traverse as walk
    from lowerbound.runs import Run

    path, opened = None if out is None else Path(out), Run.open(run)
    if path is not None:
        check_out(path, opened, other.data, *ENDINGS, force=force)
    fitted = fitted_of(opened)
    check_walks(fitted, path, latents or 1, steps)
    found = walk(fitted, other_data(fitted, other), row=row, num_steps=steps, sd=sd, num_latents=latents, seed=seed)
    check_walks(fitted, path, len(found.latents), steps)
    names = [f"latent {d} (activity {found.activity[d]:.2f})" for d in found.latents]
    start = f"the mean of {found.num_rows:,} rows" if found.row is None else f"row {found.row}"
    say(f"From {start}; {found.spacing}; activities of {found.num_rows:,} rows.")
    if found.silent:
        names_of_silent = ", ".join(map(str, found.silent[:20])) + (", ..." if len(found.silent) > 20 else "")
        count = f"{len(found.silent)} of {len(found.activity)}"
        say(f"Silent latents, which no row moves (activity at most 0.01), {count}: {names_of_silent}")
    if path is None:
        print_walks(fitted, found.shown, names, found.values)
        return
    said = {
        "latent": found.latents.repeat(steps),
        "activity": found.activity[found.latents].repeat(steps),
        "step": np.tile(np.arange(steps), len(found.latents)),
        "z": found.values.reshape(-1),
    }
    title = "Latents " + ", ".join(map(str, found.latents[:12])) + ", the most active first"
    write_walks(path, fitted, found.shown, names, said, title)
    say(f"Wrote walks along {len(found.latents)} latents to {path}")
