"""The lines of text files: one record a line, in UTF-8, as they are or compressed by gzip.

`Lines` takes the place of a list of them where they would take more memory than they should: they are read again, one
after another, whenever they are gone through.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from lowerbound.data.errors import DataError, clipped
from lowerbound.data.on_disk import Stamp
from lowerbound.data.passes import passed
from lowerbound.data.remembered import remembered

__all__ = ["Lines", "is_no_text", "lines_of", "no_text", "not_in_utf_8"]

_LOOKED_AT = 2**16
_MOST_CONTROLS = 0.02
_LONGEST = 2**26  # bytes of a line
_TOLD_EVERY = 2**12  # lines
_BOM = b"\xef\xbb\xbf"


class Lines:
    """The lines of text files, one file after another.

    Arguments:
        paths: .txt or .txt.gz files.
        what: the name of them all in messages.

    Raises:
        DataError: a file cannot be read, or holds no text in UTF-8; or all are empty.
    """

    def __init__(self, paths: Sequence[Path], what: str):
        self.stamps = tuple(Stamp.of(path) for path in paths)
        found = [
            remembered(_OfFile(stamp), "lines", lambda stamp=stamp: _looked_through(stamp)) for stamp in self.stamps
        ]
        self.counts = tuple(int(count) for count, _ in found)
        if not any(filled for _, filled in found):
            raise DataError(f"{what} is empty; expected one text a line.")

    def __len__(self) -> int:
        return sum(self.counts)

    def __iter__(self) -> Iterator[str]:
        for stamp in self.stamps:
            yield from lines_of(stamp)


class _OfFile:
    """What a pass over one file is remembered by."""

    def __init__(self, stamp: Stamp):
        self.identity = [str(stamp.path.resolve()), stamp.size, stamp.changed]


def lines_of(stamp: Stamp) -> Iterator[str]:
    """The lines of a file, one after another; a carriage return of Windows is white space at an end.

    Raises:
        DataError: the file changed, cannot be read, or holds a line that is no text.
    """
    stamp.check()
    name = clipped(stamp.path.name)
    try:
        with stamp.path.open("rb") as file, _plain(file, stamp.path) as stream:
            number = 0
            while raw := stream.readline(_LONGEST):
                number += 1
                if len(raw) == _LONGEST:
                    raise DataError(
                        f"line {number:,} of '{name}' has more than {_LONGEST // 2**20} MiB; give one text a line."
                    )
                raw = raw.removeprefix(_BOM) if number == 1 else raw
                try:
                    yield raw.removesuffix(b"\n").decode("utf-8")
                except UnicodeDecodeError:
                    raise not_in_utf_8(number, name) from None
                if number % _TOLD_EVERY == 0:
                    passed(name, file.tell(), stamp.size)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise DataError(f"'{name}' cannot be read ({reason}); save it again.") from None
    stamp.check()


def _plain(file: BinaryIO, path: Path) -> AbstractContextManager[BinaryIO]:
    """The bytes of a file, taken out of gzip where its name says so."""
    return cast(Any, gzip.open(file, "rb")) if path.name.lower().endswith(".gz") else nullcontext(file)


def _looked_through(stamp: Stamp) -> list:
    """How many lines a file has, and whether one of them holds something."""
    count, filled, first = 0, False, bytearray()
    for line in lines_of(stamp):
        count, filled = count + 1, filled or bool(line.strip())
        if len(first) < _LOOKED_AT:
            first += line.encode() + b"\n"
        if "\0" in line:
            raise no_text(stamp.path.name)
    if is_no_text(bytes(first)):
        raise no_text(stamp.path.name)
    return [count, filled]


def no_text(name: str) -> DataError:
    """The refusal of a file of something else."""
    return DataError(f"'{clipped(name)}' is no text (it holds control characters); give a file with one text a line.")


def not_in_utf_8(line: int, name: str) -> DataError:
    """The refusal of a line of a file."""
    return DataError(f"line {line:,} of '{name}' is not in UTF-8; convert the file, as in iconv -f LATIN1 -t UTF-8.")


def is_no_text(content: bytes) -> bool:
    """Whether bytes hold so many control characters that they are something else than text in UTF-8."""
    return b"\0" in content or (bool(content) and _controls(content[:_LOOKED_AT]) > _MOST_CONTROLS)


def _controls(content: bytes) -> float:
    """The fraction of control characters other than those of white space."""
    values = np.frombuffer(content, dtype=np.uint8)
    return float(((values < 32) & (values != 9) & (values != 10) & (values != 12) & (values != 13)).mean())
