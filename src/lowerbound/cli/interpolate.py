"""`lowerbound interpolate`: what a model of text or molecules writes between two of them."""

from __future__ import annotations

import click

from lowerbound.cli.text import say

__all__ = ["interpolate"]


@click.command(short_help="Write what lies between two texts or molecules.")
@click.argument("run")
@click.argument("first")
@click.argument("second")
@click.option("--steps", type=click.IntRange(2, 1000), default=7, show_default=True, help="Texts, with both ends.")
@click.option("--way", type=click.Choice(["line", "circle"]), default="line", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def interpolate(run: str, first: str, second: str, steps: int, way: str, seed: int) -> None:
    """Print what RUN makes of latents between those of the texts, or SMILES, FIRST and SECOND.

    Each is the most probable token given z and those before it, one after another, at latents z on a line between the
    means of q(z | x) of both, or on a circle around 0. For other data see `Fitted.interpolate` in Python.
    """
    from lowerbound.cli.opened import fitted_of
    from lowerbound.data.kinds.strings import texts_in
    from lowerbound.runs import Run

    opened = Run.open(run)
    if not opened.schema.is_written:
        raise click.UsageError(f"{run} is no model of text or molecules; use Fitted.interpolate in Python.")
    fitted = fitted_of(opened)
    found = fitted.interpolate([first, second], steps, way="circle" if way == "circle" else "line", seed=seed)
    say("\n".join(texts_in(found)))
