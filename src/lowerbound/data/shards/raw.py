"""Rows of numbers as they lie in a file: the array of an .npy file, or of an .npz file that is not compressed."""

from __future__ import annotations

import math
import mmap
import os
import struct
import zipfile
from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError, clipped
from lowerbound.data.on_disk import Stamp
from lowerbound.data.shards.headers import Header, header_of

__all__ = ["RawRows", "npy_rows", "place_in_archive"]

_MOST_AT_ONCE = 2**30  # a single call reads less than 2 GiB
_SCATTERED = 2  # rows in the file for each that is asked for, above which rows lie apart
_APART_AT_ONCE = 64  # of which each maps what the system had read around it, up to 2 MiB
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class RawRows:
    """Numbers from a place in a file on, in the order of C.

    Arguments:
        stamp: of the file.
        place: of the first byte.
        header: shape and type.
        name: of the array in an archive, or None.
    """

    units = None

    def __init__(self, stamp: Stamp, place: int, header: Header, name: str | None = None):
        self.stamp, self.name, self._place = stamp, name, place
        self.num_rows, self.event_shape, self.dtype = header.shape[0], header.shape[1:], header.dtype
        self._map: mmap.mmap | None = None
        self._row_bytes = math.prod(self.event_shape) * self.dtype.itemsize
        if place + self.num_rows * self._row_bytes > stamp.size:
            suffix = clipped(stamp.path.suffix, 20)
            raise DataError(
                f"'{clipped(stamp.path.name)}' is not a readable {suffix} file; it ends before its last row: save "
                "it again."
            )

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Part`. Long runs are read; rows that lie apart are taken from a map of the file."""
        if len(rows) > 1 and rows[-1] - rows[0] >= len(rows) * _SCATTERED:
            return self._taken(rows)
        found = np.empty((len(rows), *self.event_shape), self.dtype)
        content = found.reshape(-1).view(np.uint8).data
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        places = self._place + rows[starts] * self._row_bytes
        ends = [*(starts[1:] * self._row_bytes).tolist(), len(content)]
        try:
            handle = os.open(self.stamp.path, os.O_RDONLY)
            try:
                for begin, end, place in zip((starts * self._row_bytes).tolist(), ends, places.tolist(), strict=True):
                    _fill(handle, content[begin:end], place)
            finally:
                os.close(handle)
        except (OSError, EOFError) as error:
            raise DataError(
                f"'{clipped(self.stamp.path.name)}' cannot be read at row {rows[0]}; it may be cut short: save it "
                "again."
            ) from error
        return found

    def _taken(self, rows: np.ndarray) -> np.ndarray:
        """Rows that lie apart, many in a call: one for each would let go of Python's lock and wait for it each time.

        The pages of a map count as memory of this process, and are dropped after each call.
        """
        if self._map is None:
            with self.stamp.path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(self._map, self.dtype, self.num_rows * math.prod(self.event_shape), self._place)
        every = flat.reshape(self.num_rows, *self.event_shape)
        found = np.empty((len(rows), *self.event_shape), self.dtype)
        for i in range(0, len(rows), _APART_AT_ONCE):
            some = slice(i, i + _APART_AT_ONCE)
            every.take(rows[some], axis=0, out=found[some], mode="clip")  # which alone writes without a copy
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)
        return found


def _fill(handle: int, content: memoryview, place: int) -> None:
    """Read as many bytes as there is room for, from a place on.

    Raises:
        EOFError: the file has fewer.
    """
    while len(content):
        count = os.preadv(handle, [content[:_MOST_AT_ONCE]], place)
        if not count:
            raise EOFError
        content, place = content[count:], place + count


def npy_rows(path: Path) -> RawRows | None:
    """The rows of an .npy file; None if it holds no numbers, or its columns lie one after another (Fortran's order)."""
    with path.open("rb") as stream:
        header = header_of(stream)
        place = stream.tell()
    usable = header is not None and header.shape and not header.fortran and header.dtype.kind in "biuf"
    return RawRows(Stamp.of(path), place, header, None) if usable and header is not None else None


def place_in_archive(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the contents of a member begin that is not compressed."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        *_, name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + name + extra
