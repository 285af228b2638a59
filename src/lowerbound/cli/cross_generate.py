"""`lowerbound cross-generate`: blocks of a multimodal model, given others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from pathlib import Path

    from lowerbound.data import Rows
    from lowerbound.fitted import Fitted

__all__ = ["cross_generate", "say_left_out", "that_have"]

_MOST_PICTURES = 100


@click.command(short_help="Write one modality given another.")
@click.argument("run")
@other_data_options("Another file, all of its rows. [default: the run's test rows]", ", which is left out.")
@click.option("--given", required=True, metavar="BLOCKS", help="What is known of each row: image, or rna,protein.")
@click.option("--draw", is_flag=True, help="Draw each row once, in place of its expected values.")
@click.option("--num-samples", type=click.IntRange(1), default=1000, show_default=True, help="Latents for each row.")
@click.option("--out", required=True, metavar="FILE", help="A .csv, .parquet or .npz file; .png of pictures.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def cross_generate(
    run: str, other: Other, given: str, draw: bool, num_samples: int, out: str, force: bool, seed: int
) -> None:
    """Write the other blocks of each row under RUN, given some.

    Numbers are E[x | what is given] and classes the most probable ones; with --draw every row is one draw from
    p(the others | what is given). What the rows hold in the other blocks is not looked at. `row` is the number of the
    row in the file, from 0. A .png shows what is made of blocks that are pictures (fit --pictures), of the first 100
    rows.
    """
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import array_of, check_out, write_npz, write_table
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, other.data, ".csv", ".parquet", ".npz", ".png", force=force)
    fitted = fitted_of(opened)
    rows, left_out = that_have(fitted, other_data(fitted, other) or fitted.test_rows(), given)
    if path.suffix.lower() == ".png":
        _draw(path, fitted, rows, given.split(","), draw, num_samples, seed)
        say_left_out(rows, left_out, given)
        return
    with CountProgress(open_console(), "rows") as progress:
        made = fitted.cross_generate(
            rows, given.split(","), draw=draw, num_samples=num_samples, seed=seed, progress=None if draw else progress
        )
    numbers = np.arange(len(made)) if rows.numbers is None else rows.numbers
    if path.suffix.lower() == ".npz":
        write_npz(path, row=numbers, x=array_of(made))
    else:
        import pandas

        frame = made if isinstance(made, pandas.DataFrame) else pandas.DataFrame(made)
        write_table(path, frame.assign(row=numbers)[["row", *frame.columns]])
    say_left_out(rows, left_out, given)
    say(f"Wrote {made.shape[1]} columns of {len(made)} rows of {rows.name}, given {given}, to {path}")


def _draw(path: Path, fitted: Fitted, rows: Rows, given: list[str], draw: bool, num_samples: int, seed: int) -> None:
    """Write the pictures that are made of the first rows."""
    from dataclasses import replace

    import numpy as np

    from lowerbound import plots
    from lowerbound.cli.output import write_figure
    from lowerbound.verbs.cross_generating import made_given, pictures_in

    numbers = None if rows.numbers is None else rows.numbers[:_MOST_PICTURES]
    some = replace(rows, x=np.asarray(rows.x[:_MOST_PICTURES]), y=None, numbers=numbers)
    made, _ = made_given(fitted, some, given, draw, num_samples, seed, None, as_means=True)
    pictures = [of_rows for name, of_rows in pictures_in(fitted, made).items() if name not in given]
    if not pictures:
        raise click.UsageError(
            f"{fitted.called} makes no picture given {', '.join(given)}; say which blocks are pictures in the fit "
            "(fit --pictures image=28x28), or write .csv."
        )
    shown = np.concatenate(pictures)
    what = "draws" if draw else "expected values"
    title = f"{what} given {', '.join(given)}: rows of {rows.name} in their order"
    ends = min(0.0, float(shown.min())), max(1.0, float(shown.max()))
    write_figure(path, plots.image_grid(shown, 10, title=title, value_range=ends))
    say(f"Wrote the pictures of {len(shown)} rows of {rows.name}, given {', '.join(given)}, to {path}")


def that_have(fitted: Fitted, rows: Rows, given: str) -> tuple[Rows, int]:
    """The rows that have the given blocks, and how many lack one."""
    from lowerbound.verbs.cross_generating import rows_with

    found = rows_with(fitted, rows, given.split(","))
    return found, len(rows.x) - len(found.x)


def say_left_out(rows: Rows, left_out: int, given: str) -> None:
    """How many rows lack the given blocks; to be said when nothing can be refused any more."""
    if left_out:
        say(f"Left out {left_out} rows of {rows.name} that lack {given}.", err=True)
