"""From tensors on the model's scale to arrays in the units of the data, and to pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from lowerbound.data import Identity, Pixels, Standardize
    from lowerbound.runs import Run

__all__ = ["check_images", "for_picture", "in_units"]


def check_images(run: Run) -> None:
    """Refuse to draw rows of a table.

    Raises:
        UsageError: the model is of a table.
    """
    shape = run.config["event_shape"]
    if len(shape) < 2:
        raise click.UsageError(
            f"{run.path} models rows of {shape[0]} columns, which have no picture; write .npz instead."
        )


def in_units(transform: Pixels | Standardize | Identity, x: Tensor) -> np.ndarray:
    """Values in the units of the stored data; binarization is not undone."""
    return transform.inverse(x).numpy()


def for_picture(x: Tensor) -> np.ndarray:
    """Intensities, drawn from 0 (black) to 1 (white)."""
    return x.numpy().clip(0, 1)
