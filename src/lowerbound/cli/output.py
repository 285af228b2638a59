"""Writing the output of a command, completely or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lowerbound.cli.formulas import tell_formulas
from lowerbound.runs.folders import is_of_a_run
from lowerbound.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lowerbound.runs import Run

__all__ = ["array_of", "check_out", "write_bytes", "write_figure", "write_npz", "write_table"]


def check_out(path: Path, run: Run, data: str | None, *allowed: str, force: bool, others: Iterable[Run] = ()) -> None:
    """Refuse an output of an unknown format, or one that would overwrite something.

    Arguments:
        path: where to write.
        run: the run that is read.
        data: the file of --data, if any.
        allowed: the endings of the formats.
        force: whether a file that is there may be overwritten; never one that is read, nor one of a run.
        others: further runs that are read.

    Raises:
        BadParameter: another ending, or a file, or the folder of a run, that must stay.
    """
    if path.suffix.lower() not in allowed:
        raise click.BadParameter(f"{str(path)!r} must end in {', '.join(allowed)}.", param_hint="'--out'")
    place = Path(os.path.realpath(path))
    runs = (run, *others)
    read = [data, *(one.config["data"].get("path") for one in runs)]
    holds = os.path.exists(place / "run.json")
    inside = is_of_a_run(place) or any(one.path.resolve() in (place, *place.parents) for one in runs)
    if holds or inside or any(_is_read(place, Path(name)) for name in read if name is not None):
        what = "the folder of a run" if holds else "a file that a run reads or holds"
        raise click.BadParameter(f"{str(path)!r} is {what}; choose another place.", param_hint="'--out'")
    if os.path.lexists(path) and not force:
        raise _taken(path)


def _taken(path: Path) -> click.BadParameter:
    return click.BadParameter(
        f"{str(path)!r} is there already; choose another place, or overwrite it with --force.", param_hint="'--out'"
    )


def _is_read(place: Path, other: Path) -> bool:
    """Whether a place is a file, also by a hard link, or lies in a folder, that is read."""
    try:
        other = Path(os.path.realpath(other))
        return place == other or (os.path.isdir(other) and other in place.parents) or os.path.samefile(place, other)
    except OSError:
        return False


def write_bytes(path: Path, content: bytes, *, force: bool | None = None) -> None:
    """Write a file in one step; it replaces another only with `force`, which is --force of the command that runs.

    Raises:
        BadParameter: no `force`, and a file has come to be there since `check_out`.
        ClickException: the disk refused.
    """
    if force is None:
        force = click.get_current_context().params["force"]
    try:
        write_atomically(path, content, new=not force)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise click.ClickException(
            f"Could not write {path} ({error.strerror or error}); choose another place."
        ) from error


def array_of(table: Any) -> np.ndarray:
    """An array or a table as an array of numbers, for an .npz file.

    Raises:
        UsageError: a table with columns of text or dates.
    """
    x = np.asarray(table)
    if x.dtype.kind not in "biuf":
        raise click.UsageError("An .npz file takes numbers alone and the table has other columns; write .csv.")
    return x


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays by name."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def write_figure(path: Path, figure: Figure, *, force: bool | None = None) -> None:
    """Write a figure as PNG; `force` as in `write_bytes`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue(), force=force)


def write_table(path: Path, frame: Any, *, index: bool = False) -> None:
    """Write a DataFrame, or an array of numbers, as .csv or .parquet; with its index if that is asked for."""
    import pandas

    table = frame if isinstance(frame, pandas.DataFrame) else pandas.DataFrame(frame)
    table.columns = [str(name) for name in table.columns]
    buffer = io.BytesIO()
    if path.suffix.lower() == ".csv":
        text = [name for name in table.columns if table[name].dtype.kind not in "biufmM"]
        names = table.index.unique() if index else ()
        tell_formulas(path, chain(table.columns, names, *(table[name].unique() for name in text)))
        table.to_csv(buffer, index=index)
    else:
        table.to_parquet(buffer, index=index)
    write_bytes(path, buffer.getvalue())
