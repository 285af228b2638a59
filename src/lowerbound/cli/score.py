"""`lowerbound score`: log p(x) of every row, and of every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from lowerbound.data import Rows
    from lowerbound.fitted import Fitted

__all__ = ["score"]


@click.command(short_help="Score every row of data.")
@click.argument("run")
@other_data_options("Score another file or data set, all of it. [default: the run's test rows]", ", which is left out.")
@click.option("--cells", is_flag=True, help="And every cell of a table, given the rest of its row.")
@click.option(
    "--given", metavar="BLOCKS", help="And log p of these blocks, and of the others given these: rna,protein."
)
@click.option(
    "--num-samples",
    type=click.IntRange(1),
    help="Latents for each row. [default: 1000, or fewer where these take long; for --cells and --given 1000]",
)
@click.option("--out", required=True, metavar="FILE", help="A .csv, .parquet or .npz file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def score(
    run: str,
    other: Other,
    cells: bool,
    given: str | None,
    num_samples: int | None,
    out: str,
    force: bool,
    seed: int,
) -> None:
    """Write log p(x) of each row of data under RUN, in nats and in the units of the data, in the order of the file.

    `row` is the number of the row in the file, from 0; of series it is that of the series, beside its name.
    Without --data these are the rows that the fit held out. A run with a missingness is scored by log p of the values
    that are there and of which are missing, and its cells by values alone.

    The lowest are the rows that are least like the others. With --cells a table gets a further column for each of its
    own: log p of the cell given the rest of its row, where the lowest are the cells that fit worst to their row. With
    --given a multimodal model also writes log p of those blocks, and log p of the others given these.
    """
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_npz, write_table
    from lowerbound.cli.row_names import named_series_alone, series_as_text
    from lowerbound.evaluate.missing import of_gaps
    from lowerbound.runs import Run
    from lowerbound.verbs.effort import Samples
    from lowerbound.verbs.evidence_name import OF_GAPS, evidence_name
    from lowerbound.verbs.of_rows import samples_of_score

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, other.data, ".csv", ".parquet", ".npz", force=force)
    fitted = fitted_of(opened)
    rows, left_out, why_fewer = other_data(fitted, other) or fitted.test_rows(), 0, None
    if given is None:
        samples = samples_of_score(fitted, rows, seed) if num_samples is None else Samples(num_samples)
        scores, why_fewer = {"log_p": fitted.score(rows, num_samples=samples.count, seed=seed)}, samples.reason
    else:
        from lowerbound.cli.cross_generate import that_have

        rows, left_out = that_have(fitted, rows, given)
        scores = fitted.block_scores(rows, given.split(","), num_samples=num_samples or 1000, seed=seed)
    count = len(scores["log_p"])
    of_cells = _of_cells(fitted, rows, num_samples or 1000, seed) if cells else {}
    numbers = np.arange(count) if rows.numbers is None else rows.numbers
    if path.suffix.lower() == ".npz":
        write_npz(
            path, row=numbers, **series_as_text(rows), **scores, **({"cells": _stacked(of_cells)} if cells else {})
        )
    else:
        import pandas

        names = named_series_alone(rows, ("row", *scores, *of_cells))
        write_table(path, pandas.DataFrame({"row": numbers, **names, **scores, **of_cells}))
    if given is not None:
        from lowerbound.cli.cross_generate import say_left_out

        say_left_out(rows, left_out, given)
    of = f": {evidence_name(of_gaps=True)}. {OF_GAPS}" if of_gaps(fitted.model) else ""
    say(f"Wrote the scores of {count} rows of {rows.name} to {path}{of}")
    if why_fewer is not None:
        say(f"They are of {why_fewer}")


def _of_cells(fitted: Fitted, rows: Rows, num_samples: int, seed: int) -> dict[str, Any]:
    """log p of the cells of each column, by its name."""
    import numpy as np

    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console

    with CountProgress(open_console(), "columns") as progress:
        found = np.asarray(fitted.score_cells(rows, num_samples=num_samples, seed=seed, progress=progress))
    return {f"log_p {name}": found[:, i] for i, name in enumerate(fitted.schema.column_names or ())}


def _stacked(columns: dict[str, Any]) -> Any:
    import numpy as np

    return np.stack(list(columns.values()), 1)
