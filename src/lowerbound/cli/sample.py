"""`lowerbound sample`: draw new data from a fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option, values_of
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from lowerbound.fitted import Fitted

__all__ = ["sample"]


@click.command(short_help="Draw new data from a run.")
@click.argument("run")
@click.option("--class", "label", metavar="NAME", help="Of this class, from a run fitted with labels. [default: any]")
@click.option(
    "--given",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="With this value in a column of a table, or of a covariate; may be repeated.",
)
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, help="How many.")
@click.option(
    "--decoding", metavar="HOW", help="Of text: sample, greedy, temperature=T, nucleus=P or beam=N. [default: sample]"
)
@click.option("--scaffold", metavar="SMILES", help="Of molecules: every one holds this part.")
@click.option(
    "--out", metavar="FILE", help="A .png, .gif, .csv, .parquet, .npz, .txt or .smi file; without it text is printed."
)
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sample(
    run: str,
    label: str | None,
    given: tuple[str, ...],
    count: int,
    decoding: str | None,
    scaffold: str | None,
    out: str | None,
    force: bool,
    seed: int,
) -> None:
    """Draw z ~ p(z), x ~ p(x | z) from RUN, of a class if it models data given their label.

    With --given "sex=female" every row of a table has this value, and the rest of it is drawn given that. Texts and
    molecules that were fitted with --covariates logp are drawn with --given logp=2.5.

    A .csv or .parquet file gets the draws as a table with the columns of the data; series are numbered from
    1. An .npz file gets them as `x` and E[x | z] as `mean`, in the units and the layout of the data. A .png picture
    shows E[x | z], a .gif that of clips. Where a likelihood has no mean in closed form, as an autoregressive one, the
    means of each element given one draw of those before it take its place.

    Of a model of text the texts are printed, one a line, or written to a .txt file or a table. With --decoding greedy
    or nucleus=0.9 they show what is likely, and are no draws from the model. Molecules are SMILES, or drawn in a .png.
    With --scaffold "c1ccncc1" every molecule is written around this part; the rest is drawn by the model.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_table
    from lowerbound.cli.pictures import check_form
    from lowerbound.runs import Run

    opened = Run.open(run)
    if opened.schema.is_written:
        names = [covariate.name for covariate in opened.schema.covariates]
        if label is not None or (given and not names):
            raise click.UsageError(
                f"{run} is of {opened.schema.kind}, without classes and columns; leave out --class and --given."
            )
        from lowerbound.cli.texts import sample_texts

        values = values_of(given, "--given", names) if given else None
        sample_texts(opened, count, decoding or "sample", out, given=values, scaffold=scaffold, force=force, seed=seed)
        return
    if scaffold is not None:
        raise click.UsageError(f"{run} is of {opened.schema.kind}, and --scaffold is for molecules; leave it out.")
    if out is None or decoding is not None:
        raise click.UsageError("Missing option --out." if out is None else "--decoding is for models of text.")
    path = Path(out)
    check_out(path, opened, None, ".png", ".gif", ".npz", ".csv", ".parquet", force=force)
    suffix, fitted = path.suffix.lower(), fitted_of(opened)
    check_form(suffix, fitted, count)
    if given:
        if label is not None:
            raise click.UsageError("--given and --class both say what the rows are given; leave one of them out.")
        if suffix not in (".csv", ".parquet"):
            raise click.UsageError("--given draws rows of a table: write .csv or .parquet.")
        values = values_of(given, "--given", fitted.schema.column_names or ())
        write_table(path, fitted.sample(count, given=values, seed=seed))
        say(f"Wrote {count} samples to {path}")
        return
    _write_draws(path, fitted, fitted.draw(count, label=label, seed=seed))
    say(f"Wrote {count} samples to {path}")


def _write_draws(path: Path, fitted: Fitted, drawn: tuple[Tensor, Tensor, np.ndarray | None]) -> None:
    """The draws x, the E[x | z] of each and their classes, in the format of the file."""
    import numpy as np

    from lowerbound.cli.output import array_of, write_bytes, write_figure, write_npz, write_table
    from lowerbound.cli.pictures import for_picture
    from lowerbound.fitting.defaults import facts_of
    from lowerbound.plots import clip_animation, image_grid
    from lowerbound.shown import shown_as

    x, mean, labels = drawn
    if path.suffix.lower() == ".png":
        what = shown_as(facts_of(fitted.model.likelihood).has_mean)
        title = f"{what}, at {len(mean)} draws of z from the prior"
        write_figure(path, image_grid(for_picture(mean), title=title))
    elif path.suffix.lower() == ".gif":
        write_bytes(path, clip_animation(mean.numpy().clip(0, 1)))
    elif path.suffix.lower() == ".npz":
        labelled = {} if labels is None else {"label": labels}
        if labels is not None and fitted.schema.classes is not None:
            labelled["label_names"] = np.array(fitted.schema.classes)
        means = fitted.render(mean, rounded=False)
        write_npz(
            path, x=array_of(fitted.render(x, rounded=fitted.schema.series is None)), mean=array_of(means), **labelled
        )
    else:
        write_table(path, fitted.render(x))
