"""`lowerbound reconstruct`: data beside their reconstructions."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options, tell_all_are_taken
from lowerbound.cli.text import say

__all__ = ["reconstruct"]


@click.command(short_help="Show data beside what a run makes of its latents.")
@click.argument("run")
@other_data_options("Take another file or data set. [default: the run's test rows]", ", which is left out.")
@click.option("--count", type=click.IntRange(1), default=24, show_default=True, help="How many rows, from the first.")
@click.option("--out", metavar="FILE", help="A .png, .gif, .csv, .parquet or .npz file; without it text is printed.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def reconstruct(run: str, other: Other, count: int, out: str | None, force: bool, seed: int) -> None:
    """Encode rows of data with RUN and decode them again: E[x' | z] at one draw z ~ q(z | x).

    An .npz file gets the rows as `x`, as the model saw them as `seen`, and the results as `reconstruction`, in the
    units of the data. A .csv or .parquet file gets the results as a table with the columns of the data. A .png picture
    shows pairs: what the model saw, and the reconstruction. A .gif shows pairs of clips.

    Of a model of text pairs are printed, or written to a table: the text as the model saw it, and the most probable
    token given z and those before it, one after another. Molecules are SMILES, or drawn in pairs in a .png.
    """
    from pathlib import Path

    import numpy as np
    import torch

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import array_of, check_out, write_bytes, write_figure, write_npz, write_table
    from lowerbound.cli.pictures import check_form, for_picture
    from lowerbound.data.kinds import kind_named
    from lowerbound.fitting.defaults import facts_of
    from lowerbound.plots import clip_animation, originals_and_reconstructions
    from lowerbound.randomness import forked
    from lowerbound.runs import Run
    from lowerbound.shown import shown_as

    opened = Run.open(run)
    if opened.schema.is_written:
        from lowerbound.cli.texts import reconstruct_texts

        reconstruct_texts(opened, other, count, out, force=force, seed=seed)
        return
    if out is None:
        raise click.UsageError("Missing option --out.")
    path = Path(out)
    check_out(path, opened, other.data, ".png", ".gif", ".npz", ".csv", ".parquet", force=force)
    suffix, fitted = path.suffix.lower(), fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
    check_form(suffix, fitted, min(count, len(rows.x)))
    x, y = np.asarray(rows.x[:count]), rows.y
    given = None if rows.covariates is None else rows.covariates[:count]
    seen, context = fitted.events(x, seed), fitted.context(None if y is None else y[:count], rows.name, given)
    with forked(torch.device("cpu"), seed):
        again = fitted.finite(fitted.model.reconstruct(seen, context))
    if suffix == ".png":
        what = shown_as(facts_of(fitted.model.likelihood).has_mean)
        title = f"Seen (left of each pair) and {what}, at one z ~ q(z | x) (right)"
        write_figure(path, originals_and_reconstructions(for_picture(seen), for_picture(again), title=title))
    elif suffix == ".gif":
        write_bytes(path, clip_animation(np.concatenate([part.numpy().clip(0, 1) for part in (seen, again)], -1)))
    elif suffix in (".csv", ".parquet"):
        write_table(path, fitted.render(again, like=rows))
    else:
        means = {"seen": seen, "reconstruction": again}
        arrays = {name: fitted.render(mean, rounded=False) for name, mean in means.items()}
        of_series = fitted.schema.series is not None
        arrays["x"] = x if of_series else kind_named(fitted.schema.kind).render(x, fitted.schema)
        write_npz(path, **{name: array_of(array) for name, array in arrays.items()})
    tell_all_are_taken(rows, count)
    say(f"Wrote {len(x)} reconstructions to {path}")
