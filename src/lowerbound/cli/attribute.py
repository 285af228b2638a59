"""`lowerbound attribute`: the direction of a label or a column in the latent space."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import printable, say

__all__ = ["attribute"]


@click.command(short_help="Move rows along the direction of a label or column.")
@click.argument("run")
@click.argument("name", metavar="NAME[=VALUE]")
@other_data_options("Learn from another file or data set. [default: the run's test rows]", ".")
@click.option(
    "--how",
    type=click.Choice(["difference", "classifier"]),
    default="difference",
    show_default=True,
    help="Difference of means, or weights of a linear classifier.",
)
@click.option("--row", type=click.IntRange(0), help="Move this row of the data, from 0. [default: the first four]")
@click.option("--add", type=float, default=2.0, show_default=True, help="Standard deviations; negative takes away.")
@click.option("--steps", type=click.IntRange(2, 1000), default=5, show_default=True, help="From 0 to --add.")
@click.option("--out", metavar="FILE", help="A .png, .gif, .csv, .parquet, .npz, .txt or .smi file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def attribute(
    run: str,
    name: str,
    other: Other,
    how: str,
    row: int | None,
    add: float,
    steps: int,
    out: str | None,
    force: bool,
    seed: int,
) -> None:
    """Find the direction of a label or column NAME in the latents of RUN, and move rows along it.

    NAME=VALUE names a class, as in species=Adelie; NAME alone a column of numbers, or the second of two classes. How
    well a linear classifier tells the attribute from latents of rows that it has not seen is printed beside the share
    of the commonest class: without a difference between them, the direction means nothing.
    """
    from pathlib import Path

    import numpy as np
    import torch

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.cli.walks import ENDINGS, check_walks, print_walks, write_walks
    from lowerbound.latent_space import attribute as direction_of
    from lowerbound.latent_space import taken, with_attribute
    from lowerbound.runs import Run

    if not np.isfinite(add):
        raise click.UsageError(f"--add is {add}; expected a finite number of standard deviations.")
    path, opened = None if out is None else Path(out), Run.open(run)
    if path is not None:
        check_out(path, opened, other.data, *ENDINGS, force=force)
    fitted = fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
    places = np.arange(min(4, len(rows.x))) if row is None else np.array([row])
    chosen = taken(rows, places)
    check_walks(fitted, path, len(places), steps)
    column, _, value = name.partition("=")
    if name in (fitted.schema.column_names or ()):
        column, value = name, ""
    found = direction_of(
        fitted, column, value or None, rows, how="classifier" if how == "classifier" else "difference", seed=seed
    )
    say(printable(_verdict(found), 299))
    amounts = np.linspace(0, add, steps)
    shown = torch.stack([with_attribute(fitted, found, chosen, float(k), seed=seed)[1] for k in amounts], 1)
    numbers = places if chosen.numbers is None else chosen.numbers
    names = [f"row {number} with {found.name} added" for number in numbers]
    if path is None:
        print_walks(fitted, shown, names, np.tile(amounts, (len(places), 1)), "sd")
        return
    said = {"of": np.asarray(numbers).repeat(steps), "added": np.tile(amounts, len(places))}
    write_walks(path, fitted, shown, names, said, f"{found.name} added, from 0 to {add:g} standard deviations")
    say(f"Wrote {len(places)} rows at {steps} steps to {path}")


def _verdict(found: object) -> str:
    """How far the direction is to be trusted, in a sentence."""
    from lowerbound.latent_space import Attribute

    assert isinstance(found, Attribute)
    rows = f"{found.num_held_out} held-out rows ({found.num_train} to learn from)"
    if not found.is_class:
        return f"{found.name}: a linear regression on latents explains R² = {found.held_out:.2f} of {rows}."
    return (
        f"{found.name}: a linear classifier on latents is right for {found.held_out:.0%} of {rows}; the commoner "
        f"class is {found.baseline:.0%} of them."
    )
