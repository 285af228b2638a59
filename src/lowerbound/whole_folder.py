"""Several files that belong together, written to a folder all at once or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lowerbound.training.checkpoint import put_in_place, umask, write_atomically

__all__ = ["write_folder"]

_STAGING = ".lowerbound-folder-"


def write_folder(folder: Path, files: Mapping[str, bytes | Path], *, force: bool) -> None:
    """Write files to a folder that is there, or is made, after all of them have found room on the disk.

    A folder that is new or empty gets its place in one step. In another, other files stay, links are replaced and not
    followed, and files of the same names are replaced one after another.

    Arguments:
        folder: where to.
        files: contents, or files to copy, by name; names may have subfolders where the folder is new or empty.
        force: whether files of these names that are there by then are replaced.

    Raises:
        FileExistsError: not `force`, and one is there.
        OSError: the disk refused; nothing was changed.
    """
    is_new = not os.path.lexists(folder) or (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()))
    if is_new:
        folder.parent.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder.parent if is_new else folder))
    try:
        for name, content in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(staging / name, content if isinstance(content, bytes) else content.read_bytes())
        if is_new:
            staging.chmod(0o777 & ~umask())
            staging.rename(folder)
        else:
            taken = [name for name in files if os.path.lexists(folder / name)]
            if taken and not force:
                raise FileExistsError(errno.EEXIST, f"{taken[0]} is there already")
            for name in files:
                put_in_place(staging / name, folder / name, new=not force)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
