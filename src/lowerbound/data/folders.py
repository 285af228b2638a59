"""Reading a folder of pictures: .png and .jpg files, all grey or all in colour, and all of one size, as rows of data
are; or of any sizes, by name.

The label of a picture in a subfolder is the name of the subfolder. Files are read in the order of their names. Only
regular files and links to them are opened; files with other endings are ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.memory import check_memory

__all__ = ["SUFFIXES", "names_in", "read_folder", "read_pictures", "sizes_in"]

SUFFIXES = (".png", ".jpg", ".jpeg")
_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "RGBA": "RGBA"}


def read_folder(path: Path, label: str | None) -> Contents:
    """Read the pictures of a folder.

    Raises:
        DataError: there are none, one cannot be read, or one differs from the others in size or colours.
    """
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given; the labels of a folder are its subfolders: drop it.")
    files = _files(path)
    sizes = [_size(file) for file in files]
    _refuse_the_odd_one(files, sizes)
    (width, height), mode = sizes[0]
    check_memory((len(files), height, width, len(mode)), 1, f"the folder '{clipped(path.name)}'")
    x = np.stack([_pixels(file, mode) for file in files])
    labels = [file.parent.name if file.parent != path else None for file in files]
    y = None if labels[0] is None else np.array(labels)
    what = f"the folder {clipped(path.name)}"
    return Contents(what=what, container="folder", x=x, y=y, label=None if y is None else "folder")


def sizes_in(path: Path) -> set[tuple[int, int]]:
    """The heights and widths of the pictures of a folder.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    return {(height, width) for (width, height), _ in map(_size, _files(path))}


def read_pictures(path: Path) -> dict[str, np.ndarray]:
    """Pictures of any sizes, (height, width) or (height, width, channels), uint8, by the names of `names_in`.

    Arguments:
        path: a folder, or one picture.

    Raises:
        DataError: there are none, one cannot be read, or all together do not fit into memory.
    """
    files = _files(path) if path.is_dir() else [path]
    pixels = sum(width * height * len(mode) for (width, height), mode in map(_size, files))
    check_memory((pixels,), 1, f"'{clipped(path.name)}'")
    root = path if path.is_dir() else path.parent
    return {name: _pixels(file, _size(file)[1]) for name, file in zip(_names(files, root), files, strict=True)}


def names_in(path: Path) -> list[str]:
    """The names of the pictures of a folder, in the order in which they are read: without endings, but for those of
    which two would have one name. The name of a subfolder comes first.

    Raises:
        DataError: there are none.
    """
    return _names(_files(path), path)


def _names(files: list[Path], root: Path) -> list[str]:
    whole = [file.relative_to(root) for file in files]
    names = [name.with_suffix("").as_posix() for name in whole]
    while len(set(names)) < len(names):  # a name with its ending may be that of another without: a.png of a.png.png
        count = Counter(names)
        names = [full.as_posix() if count[name] > 1 else name for name, full in zip(names, whole, strict=True)]
    return names


def _files(path: Path) -> list[Path]:
    """The pictures, in the folder itself or in its subfolders."""
    here = _pictures(path)
    below = [file for folder in _listed(path) if folder.is_dir() for file in _pictures(Path(folder.path))]
    name = clipped(path.name)
    if here and below:
        raise DataError(
            f"the folder '{name}' has pictures beside subfolders of pictures; put all of them in subfolders."
        )
    if not here and not below:
        raise DataError(
            f"the folder '{name}' has no .png or .jpg file and no shards (.npy, .npz, .parquet, .tar), and more "
            "than .txt files; give one of these, or one data file."
        )
    return here or below


def _pictures(folder: Path) -> list[Path]:
    files = [entry for entry in _listed(folder) if entry.name.lower().endswith(SUFFIXES) and entry.is_file()]
    return [Path(entry.path) for entry in files if not entry.name.startswith(".")]


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder '{clipped(str(folder))}' cannot be read ({error.strerror}).") from None


def _opened(file: Path) -> Any:
    from PIL import Image

    return Image.open(file)


def _size(file: Path) -> tuple[tuple[int, int], str]:
    """Width, height and colours of the picture, from the header of the file."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a size beyond all reason is refused for what it needs of memory
            with _opened(file) as image:
                size, mode = image.size, image.mode
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise _unreadable(file) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"'{clipped(file.name)}' declares more pixels than a picture can have; leave it out."
        ) from error
    if mode not in _MODES:
        raise DataError(
            f"'{clipped(file.name)}' has pixels of mode {mode}; expected 8 bits, grey or colour: convert it."
        )
    return size, _MODES[mode]


def _pixels(file: Path, mode: str) -> np.ndarray:
    """(height, width) or (height, width, channels), uint8."""
    try:
        with _opened(file) as image:
            return np.asarray(image.convert(mode))
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, OverflowError) as error:
        raise _unreadable(file) from error


def _refuse_the_odd_one(files: list[Path], sizes: list[tuple[tuple[int, int], str]]) -> None:
    usual = Counter(sizes).most_common(1)[0][0]
    for file, size in zip(files, sizes, strict=True):
        if size != usual:
            raise DataError(
                f"'{clipped(file.name)}' is a picture of {size[0][0]} x {size[0][1]} ({size[1]}) and others are of "
                f"{usual[0][0]} x {usual[0][1]} ({usual[1]}); give pictures of one size, all grey or all in colour."
            )


def _unreadable(file: Path) -> DataError:
    return DataError(f"'{clipped(file.name)}' is not a readable picture; it may be cut short: leave it out.")
