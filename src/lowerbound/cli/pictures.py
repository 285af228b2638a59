"""Turning tensors on the model's scale into pictures, and which data are images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from lowerbound.fitted import Fitted

__all__ = ["check_clips", "check_form", "check_images", "check_table", "for_picture", "of_one_size", "write_pictures"]


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


def of_one_size(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pictures by name as rows.

    Raises:
        UsageError: they have several sizes.
    """
    shapes = {x.shape for x in pictures.values()}
    if len(shapes) > 1:
        raise click.UsageError(
            f"The file holds pictures of {len(shapes)} sizes, which no array has; write them to a folder: --out FOLDER."
        )
    return np.stack(list(pictures.values()))


def write_pictures(folder: Path, pictures: Mapping[str, np.ndarray] | np.ndarray, *, force: bool) -> None:
    """Write pictures (height, width[, channels]) as .png files of a folder, all of them or none: under their names, or
    the numbers of their rows, from 0.

    Raises:
        UsageError: pixels that are no bytes, or pictures of subfolders beside what is in the folder.
        ClickException: the disk refused.
    """
    from lowerbound.verbs.lossy_sizes import png_of
    from lowerbound.whole_folder import write_folder

    named = pictures if isinstance(pictures, Mapping) else {f"{n:06}": x for n, x in enumerate(pictures)}
    if any(x.dtype != np.uint8 for x in named.values()):
        raise click.UsageError("The pixels of this run are no bytes, which .png files hold; write .npy or .npz.")
    if any("/" in name for name in named) and folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"The pictures stand in subfolders, and {folder} is not empty; name a new folder.")
    try:
        write_folder(folder, {f"{name}.png": png_of(x) for name, x in named.items()}, force=force)
    except OSError as error:
        raise click.ClickException(
            f"Could not write {folder} ({error.strerror or error}); choose another place."
        ) from error
