"""Reading a folder of clips: .gif files, or one subfolder of frames (.png, .jpg) for each clip.

All clips have the same number of frames, and all frames one size, grey or colour. Frames are taken in the order of
their names, or of the GIF. A GIF all of whose colours are grey is grey. Clips have no labels.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.folders import read_folder
from lowerbound.data.memory import check_memory

__all__ = ["has_gifs", "read_clips"]


def has_gifs(path: Path) -> bool:
    """Whether a folder has .gif files."""
    return bool(_gifs(path))


def read_clips(path: Path, label: str | None) -> Contents:
    """Read the clips of a folder: (N, T, H, W, C), uint8.

    Raises:
        DataError: there are none, one cannot be read, or one differs from the others in length, size or colours.
    """
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given and clips have no labels: drop it.")
    files = _gifs(path)
    folders = [] if files else [Path(e.path) for e in _listed(path) if e.is_dir()]
    if not files and not folders:
        raise DataError(
            f"the folder '{clipped(path.name)}' has no .gif file and no subfolder of frames; give one for each clip."
        )
    names = [one.name for one in files or folders]
    clips = [_of_gif(file) for file in files] if files else [_of_folder(folder) for folder in folders]
    for name, clip in zip(names, clips, strict=True):
        _check(name, clip, names[0], clips[0])
    if all(clip.shape[-1] == 3 and _is_grey(clip) for clip in clips):
        clips = [clip[..., :1] for clip in clips]
    return Contents(what=f"the folder {clipped(path.name)}", container="folder", x=np.stack(clips), y=None, label=None)


def _gifs(path: Path) -> list[Path]:
    found = [entry for entry in _listed(path) if entry.name.lower().endswith(".gif") and entry.is_file()]
    return [Path(entry.path) for entry in found if not entry.name.startswith(".")]


def _listed(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder '{clipped(str(path))}' cannot be read ({error.strerror}).") from None


def _of_gif(file: Path) -> np.ndarray:
    """(T, H, W, 3), uint8."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(file) as opened:
            count, (width, height) = getattr(opened, "n_frames", 1), opened.size
            check_memory((count, height, width, 3), 1, f"'{clipped(file.name)}'")
            return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(opened)])
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, OverflowError) as error:
        raise DataError(f"'{clipped(file.name)}' is not a readable GIF; it may be cut short: leave it out.") from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"'{clipped(file.name)}' declares more pixels than a picture can have; leave it out."
        ) from error


def _of_folder(folder: Path) -> np.ndarray:
    """(T, H, W, C), uint8."""
    x = np.asarray(read_folder(folder, None).x)
    return x[..., None] if x.ndim == 3 else x


def _check(name: str, clip: np.ndarray, first: str, other: np.ndarray) -> None:
    """Refuse a clip of one frame, or one unlike the first."""
    if len(clip) < 2:
        raise DataError(f"'{clipped(name)}' has one frame; give clips of two frames at least.")
    if clip.shape != other.shape:
        raise DataError(
            f"'{clipped(name)}' has {len(clip)} frames of {clip.shape[2]} x {clip.shape[1]} and '{clipped(first)}' "
            f"{len(other)} of {other.shape[2]} x {other.shape[1]} ({clip.shape[3]} and {other.shape[3]} colours); give "
            "clips of one length, size and kind of colours."
        )


def _is_grey(clip: np.ndarray) -> bool:
    return bool((clip == clip[..., :1]).all())
