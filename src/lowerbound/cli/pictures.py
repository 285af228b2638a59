"""Turning tensors on the model's scale into pictures, and which data are images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from lowerbound.fitted import Fitted

__all__ = ["check_clips", "check_form", "check_images", "check_table", "for_picture"]


_MOST_PICTURES = 10_000


def check_images(fitted: Fitted, count: int) -> None:
    """Refuse to draw rows of a table, and more images than a page can show.

    Raises:
        UsageError: the model is of a table, or too many are asked for.
    """
    if count > _MOST_PICTURES:
        raise click.UsageError(f"A picture shows at most {_MOST_PICTURES:,} and got {count:,}; write .npz.")
    if fitted.schema.series is not None:
        raise click.UsageError(f"{fitted.called} is of series, which are a table of steps; write .csv or .npz.")
    if len(fitted.schema.event_shape) < 2:
        raise click.UsageError(f"{fitted.called} is of rows of a table, which have no picture; write .csv or .npz.")


def check_table(fitted: Fitted) -> None:
    """Refuse to write images and arrays as a table.

    Raises:
        UsageError: the model is of these.
    """
    if len(fitted.schema.event_shape) > 1 and fitted.schema.series is None:
        raise click.UsageError(
            f"{fitted.called} is of {fitted.schema.rows_called}, which are no table; write .png or .npz instead."
        )


def for_picture(x: Tensor) -> np.ndarray:
    """Intensities, drawn from 0 (black) to 1 (white); clips as the strips of their frames."""
    from lowerbound.plots import filmstrips

    pixels = x.numpy().clip(0, 1)
    return filmstrips(pixels) if pixels.ndim == 5 else pixels


def check_clips(fitted: Fitted, count: int) -> None:
    """Refuse to animate what does not move.

    Raises:
        UsageError: the model is of no clips, or too many are asked for.
    """
    check_images(fitted, count)
    if fitted.schema.kind != "video":
        raise click.UsageError(f"{fitted.called} is of no clips, which a .gif shows; write .png or .npz.")


def check_form(suffix: str, fitted: Fitted, count: int) -> None:
    """Refuse a file whose ending stands for another form than the data have.

    Raises:
        UsageError: a picture of a table, a table of pictures, an animation of what does not move, or too many.
    """
    if suffix == ".png":
        check_images(fitted, count)
    if suffix == ".gif":
        check_clips(fitted, count)
    if suffix in (".csv", ".parquet"):
        check_table(fitted)
