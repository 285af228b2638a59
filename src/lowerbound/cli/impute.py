"""`lowerbound impute`: a table with its gaps filled."""

from __future__ import annotations

from typing import Any

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

__all__ = ["impute"]


@click.command(short_help="Fill the gaps of a table or of series.")
@click.argument("run")
@click.option("--data", metavar="FILE", help="The table, or an array. [default: the file that the run was fitted to]")
@click.option(
    "--statistic",
    default="mean",
    show_default=True,
    metavar="WORD",
    help="What fills numbers: mean, median, mode, or the quantile of a level such as 0.05.",
)
@click.option("--draws", type=click.IntRange(1), help="Write so many copies, each with draws in its gaps.")
@click.option("--num-samples", type=click.IntRange(1), default=1000, show_default=True, help="Latents for each row.")
@click.option("--out", required=True, metavar="FILE", help="A .csv or .parquet file, or .npz for an array.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def impute(
    run: str,
    data: str | None,
    statistic: str,
    draws: int | None,
    num_samples: int,
    out: str,
    force: bool,
    seed: int,
) -> None:
    """Fill the gaps of a table, or of series, each by what RUN says of it given the rest of its row.

    Every other cell is written as it is, and so are columns that are no part of the model. Classes without an order
    are filled by the most probable one, ordered ones by the median. With --statistic mode ordered ones and counts are
    filled by the most probable one too, and other numbers by the median.

    With --draws the copies stand below one another, and the column `imputation` tells them apart; in an .npz file they
    are the first axis of `x`. What is computed from each copy shows what the gaps leave open.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import array_of, check_out, write_npz, write_table
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, data, ".csv", ".parquet", ".npz", force=force)
    level = _statistic(statistic, draws)
    if opened.schema.columns is None and opened.schema.kind not in ("array", "series"):
        raise click.UsageError(
            f"{run} is of kind {opened.schema.kind}; gaps are those of tables of columns, and of series."
        )
    if opened.schema.kind == "array" and path.suffix.lower() != ".npz":
        raise click.UsageError(
            f"{run} is of {opened.schema.rows_called}, which no {path.suffix} file holds; write .npz."
        )
    fitted = fitted_of(opened)
    table = data if data is not None else opened.config["data"].get("path")
    if table is None:
        raise click.UsageError(f"{fitted.called} was not fitted to a file; name the table with --data.")
    if draws is None:
        with CountProgress(open_console(), "rows") as progress:
            filled = fitted.impute(table, statistic=level, num_samples=num_samples, seed=seed, progress=progress)
    else:
        filled = fitted.imputations(table, draws, num_samples=num_samples, seed=seed)
    if path.suffix.lower() == ".npz":
        write_npz(path, x=array_of(filled))
    else:
        complete = _frame(filled) if draws is None else _below_one_another(filled)
        write_table(path, complete, index=_has_index(complete))
    say(f"Wrote {len(filled)} {'rows' if draws is None else 'copies'} to {path}")


def _statistic(word: str, draws: int | None) -> Any:
    """A word, or a level."""
    if draws is not None and word != "mean":
        raise click.UsageError("--draws fills gaps with draws and --statistic with one value; give one of them.")
    try:
        return float(word)
    except ValueError:
        return word


def _frame(table: Any) -> Any:
    """A copy as a DataFrame."""
    import pandas

    return table.copy() if isinstance(table, pandas.DataFrame) else pandas.DataFrame(table)


def _has_index(table: Any) -> bool:
    """Whether its rows have names, or numbers, which its file holds."""
    import pandas

    return not isinstance(table.index, pandas.RangeIndex)


def _below_one_another(copies: list[Any]) -> Any:
    """One DataFrame, in which the column `imputation` is the number of the copy.

    Raises:
        UsageError: there is a column of this name.
    """
    import pandas

    frames = [_frame(copy) for copy in copies]
    if "imputation" in frames[0].columns:
        raise click.UsageError("The table has a column named 'imputation', as the number of a copy is; rename it.")
    for number, frame in enumerate(frames):
        frame.insert(0, "imputation", number)
    return pandas.concat(frames, ignore_index=not _has_index(frames[0]))
