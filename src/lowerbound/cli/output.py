"""Writing the output of a command, completely or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lowerbound.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lowerbound.runs import Run

__all__ = ["check_out", "write_bytes", "write_figure", "write_npz", "write_table"]


def check_out(path: Path, run: Run, data: str | None, *allowed: str) -> None:
    """Refuse an output of an unknown format, or one that would overwrite a file that the command reads.

    Arguments:
        path: where to write.
        run: the run that is read.
        data: the file of --data, if any.
        allowed: the endings of the formats.

    Raises:
        BadParameter: another ending, or a file that is read.
    """
    if path.suffix.lower() not in allowed:
        raise click.BadParameter(f"{str(path)!r} must end in {', '.join(allowed)}.", param_hint="'--out'")
    place = path.resolve()
    read = [run.config["data"].get("path"), data]
    if place.parent == run.path.resolve() or any(place == Path(name).resolve() for name in read if name is not None):
        raise click.BadParameter(
            f"{str(path)!r} is a file that the run reads or holds; choose another place.", param_hint="'--out'"
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, replacing the one before in one step.

    Raises:
        ClickException: the disk refused.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise click.ClickException(
            f"Could not write {path} ({error.strerror or error}); choose another place."
        ) from error


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays by name."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())


def write_table(path: Path, frame: Any) -> None:
    """Write a DataFrame, or an array of numbers, as .csv or .parquet."""
    import pandas

    table = frame if isinstance(frame, pandas.DataFrame) else pandas.DataFrame(frame)
    table.columns = [str(name) for name in table.columns]
    buffer = io.BytesIO()
    if path.suffix.lower() == ".csv":
        table.to_csv(buffer, index=False)
    else:
        table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())
