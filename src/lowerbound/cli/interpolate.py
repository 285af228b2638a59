"""`lowerbound interpolate`: what a model shows between two rows, texts or molecules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from lowerbound.fitted import Fitted

__all__ = ["interpolate"]


@click.command(short_help="Show what lies between two rows or texts.")
@click.argument("run")
@click.argument("first")
@click.argument("second")
@other_data_options("Take the rows from another file or data set. [default: the run's test rows]", ", left out.")
@click.option("--steps", type=click.IntRange(2, 1000), default=7, show_default=True, help="With both ends.")
@click.option("--way", type=click.Choice(["line", "circle"]), default="line", show_default=True)
@click.option("--out", metavar="FILE", help="A .png, .gif, .csv, .parquet, .npz, .txt or .smi file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def interpolate(
    run: str,
    first: str,
    second: str,
    other: Other,
    steps: int,
    way: str,
    out: str | None,
    force: bool,
    seed: int,
) -> None:
    """Show what RUN makes of latents between those of FIRST and SECOND: texts, SMILES, or places of rows, from 0.

    The latents lie on a line between the means of q(z | x) of both, or on a circle around 0. Of text it is the most
    probable token given z and those before it, one after another; of other data E[x | z].

    Texts, molecules and rows of tables are printed. A .png shows images in a row, or columns and series as lines, a
    .gif images that move forth and back; a table has a row for each step.
    """
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.cli.walks import ENDINGS, check_walks, print_walks, write_walks
    from lowerbound.data.kinds.strings import texts_in
    from lowerbound.runs import Run
    from lowerbound.verbs.interpolating import walked

    path, opened = None if out is None else Path(out), Run.open(run)
    if path is not None:
        check_out(path, opened, other.data, *ENDINGS, force=force)
    fitted = fitted_of(opened)
    check_walks(fitted, path, 1, steps)
    pair = _pair(fitted, first, second, other)
    shown = walked(fitted, pair, steps, way="circle" if way == "circle" else "line", seed=seed)
    if path is None and opened.schema.is_written:
        say("\n".join(texts_in(fitted.render(shown))))
        return
    name, t = f"from {first} to {second}", np.linspace(0, 1, steps)
    if path is None:
        print_walks(fitted, shown[None], [name], t[None], "t")
        return
    write_walks(path, fitted, shown[None], [name], {"t": t}, f"E[x | z] on a {way} {name}")
    say(f"Wrote {steps} steps to {path}")


def _pair(fitted: Fitted, first: str, second: str, other: Other) -> Any:
    """Both texts, or the two rows at these places.

    Raises:
        UsageError: no places, or options of rows with texts.
    """
    import numpy as np

    from lowerbound.latent_space import taken

    if fitted.schema.is_written:
        if other.data is not None:
            raise click.UsageError("--data is for places of rows, and FIRST and SECOND are texts; leave it out.")
        other_data(fitted, other)
        if fitted.schema.molecules is not None and (first.isdecimal() or second.isdecimal()):
            raise click.UsageError("FIRST and SECOND are places of rows in other runs, and SMILES in one of molecules.")
        return [first, second]
    for word in (first, second):
        if not (word.isascii() and word.isdigit() and len(word) < 19):
            raise click.UsageError(f"FIRST and SECOND are places of rows, from 0, and {word[:40]!r} is none.")
    rows = other_data(fitted, other) or fitted.test_rows()
    return taken(rows, np.array([int(first), int(second)]))
