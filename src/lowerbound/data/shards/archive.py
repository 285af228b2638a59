"""Rows of an .npz file: read alone where the archive is not compressed, as a whole where it is."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError, clipped
from lowerbound.data.on_disk import Part, Stamp
from lowerbound.data.shards.headers import Header, header_of
from lowerbound.data.shards.raw import RawRows, place_in_archive

__all__ = ["Compressed", "npz_rows", "read_member"]

_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError)
_USUAL = ("x", "data", "counts", "images", "features")


class Compressed:
    """The array of a compressed archive: one unit.

    Arguments:
        stamp: of the file.
        name: of the array.
        header: shape and type.
    """

    def __init__(self, stamp: Stamp, name: str, header: Header):
        self.stamp, self.name = stamp, name
        self.num_rows, self.event_shape, self.dtype = header.shape[0], header.shape[1:], header.dtype
        self.units = np.array([0, self.num_rows])

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Part`."""
        return read_member(self.stamp.path, self.name)[rows[0] : rows[-1] + 1]


def npz_rows(path: Path, array: str | None) -> Part:
    """The rows of an archive: the array named, else `x`, else the only one that can be rows.

    Raises:
        DataError: there is no such array.
    """
    name = clipped(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            headers = {key: _header(archive, info) for key, info in members.items()}
    except _BROKEN as error:
        raise _unreadable(path) from error
    able = [key for key, h in headers.items() if h is not None and len(h.shape) >= 2 and h.dtype.kind in "biuf"]
    usual = [key for key in able if key in _USUAL]
    chosen = array or ("x" if "x" in able else usual[0] if len(usual) == 1 else able[0] if len(able) == 1 else None)
    header = headers.get(chosen or "")
    if chosen is None or header is None or chosen not in able:
        listed = ", ".join(f"'{clipped(key, 20)}'" for key in able[:4]) or "none"
        raise DataError(f"'{name}' has no array '{clipped(chosen or 'x', 20)}' of rows; name one of {listed}.")
    stamp, info = Stamp.of(path), members[chosen]
    if info.compress_type != zipfile.ZIP_STORED or header.fortran:
        return Compressed(stamp, chosen, header)
    with zipfile.ZipFile(path) as archive, archive.open(info) as stream:
        header_of(stream)
        place = place_in_archive(path, info) + stream.tell()
    return RawRows(stamp, place, header, chosen)


def read_member(path: Path, name: str) -> np.ndarray:
    """One array of an archive.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except (*_BROKEN, MemoryError) as error:
        raise _unreadable(path) from error


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header | None:
    if not info.filename.endswith(".npy"):
        return None
    with archive.open(info) as stream:
        return header_of(stream)


def _unreadable(path: Path) -> DataError:
    return DataError(f"'{clipped(path.name)}' is not a readable .npz file; it may be cut short: save it again.")
