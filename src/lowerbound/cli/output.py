"""Writing what a command was asked for, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from lowerbound.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_suffix", "write_bytes", "write_figure", "write_npz"]


def check_suffix(path: Path, *allowed: str) -> None:
    """Refuse a file whose ending says no format that is written, before any work is done.

    Raises:
        BadParameter: naming the endings there are.
    """
    if path.suffix.lower() not in allowed:
        raise click.BadParameter(f"{str(path)!r} must end in {' or '.join(allowed)}.", param_hint="'--out'")


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
