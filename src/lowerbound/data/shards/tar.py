"""Members of a .tar file, as WebDataset lays them out: KEY.npy, KEY.png or KEY.jpg is a row.

A key is the name of a member up to the first dot of its last part. Labels are in KEY.cls, which holds one as text, or
in KEY.json, an object whose entry of the name asked for, or `label`, or `cls`, is the label.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.errors import DataError, clipped
from lowerbound.data.on_disk import Stamp

__all__ = ["TarRows"]

_DATA = ("npy", "png", "jpg", "jpeg")
_LABELS = ("cls", "json")
_MOST_LABEL_BYTES = 2**20
_BROKEN = (tarfile.TarError, OSError, EOFError, ValueError, UnicodeDecodeError, RecursionError)


@dataclass
class _Row:
    key: str
    place: int
    size: int
    ending: str
    label: Any = None


class TarRows:
    """The rows of a .tar file, which is not compressed.

    Arguments:
        path: the file.
        label: the entry of .json files that is the label; None for `label` or `cls`.

    Attributes:
        labels: of the rows, text or numbers; None if no row has one.

    Raises:
        DataError: it cannot be read, or holds no rows, or a row that differs in kind.
    """

    units = None

    def __init__(self, path: Path, label: str | None):
        self.stamp = Stamp.of(path)
        try:
            rows = self._indexed(label)
        except _BROKEN as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"'{clipped(path.name)}' is not a readable .tar file; it may be compressed or cut short: save it again."
            ) from error
        if not rows:
            raise DataError(f"'{clipped(path.name)}' has no member KEY.npy, KEY.png or KEY.jpg; give rows of data.")
        self._places = np.array([row.place for row in rows], np.int64)
        self._sizes = np.array([row.size for row in rows], np.int64)
        self._endings = [row.ending for row in rows] if len({row.ending for row in rows}) > 1 else [rows[0].ending]
        self._keys = (rows[0].key, len(rows))
        self.num_rows, self.labels = len(rows), _labels_of(rows, path)
        self.name = label
        first = self._decoded(0)
        self.event_shape, self.dtype = first.shape, first.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Part`."""
        found = np.empty((len(rows), *self.event_shape), self.dtype)
        with self.stamp.path.open("rb") as stream:
            for i, row in enumerate(rows.tolist()):
                one = self._decoded(row, stream)
                if one.shape != self.event_shape or one.dtype != self.dtype:
                    raise DataError(
                        f"row {row} of '{clipped(self.stamp.path.name)}' is {one.dtype} {one.shape} and others are "
                        f"{self.dtype} {self.event_shape}; give rows of one shape and type."
                    )
                found[i] = one
        return found

    def _decoded(self, row: int, stream: Any = None) -> np.ndarray:
        if stream is None:
            with self.stamp.path.open("rb") as opened:
                return self._decoded(row, opened)
        stream.seek(int(self._places[row]))
        content = io.BytesIO(stream.read(int(self._sizes[row])))
        ending = self._endings[row if len(self._endings) > 1 else 0]
        try:
            return np.load(content, allow_pickle=False) if ending == "npy" else _picture(content)
        except (ValueError, OSError, EOFError, SyntaxError, KeyError, OverflowError) as error:
            raise DataError(
                f"row {row} of '{clipped(self.stamp.path.name)}' is no readable .{ending}; leave it out."
            ) from error

    def _indexed(self, label: str | None) -> list[_Row]:
        """Where each row lies, from one pass over the headers."""
        found: dict[str, _Row] = {}
        waiting: dict[str, Any] = {}
        with tarfile.open(self.stamp.path, "r:") as archive:
            for member in archive:
                folder, _, last = member.name.rpartition("/")
                key, _, ending = last.partition(".")
                key, ending = f"{folder}/{key}", ending.lower()
                if not member.isreg() or last.startswith("."):
                    continue
                if ending in _DATA:
                    if key in found:
                        raise DataError(
                            f"'{clipped(self.stamp.path.name)}' has two rows of the key '{clipped(last, 40)}'; give "
                            "one .npy or picture for each key."
                        )
                    found[key] = _Row(key, member.offset_data, member.size, ending, waiting.pop(key, None))
                elif ending in _LABELS and member.size <= _MOST_LABEL_BYTES:
                    content = archive.extractfile(member)
                    assert content is not None
                    value = _label(content.read().decode(), ending, label)
                    if key in found:
                        found[key].label = value if value is not None else found[key].label
                    elif value is not None:
                        waiting[key] = value
            _check_end(self.stamp.path, archive.offset)
        return list(found.values())


def _check_end(path: Path, place: int) -> None:
    """Refuse a file without the block of zeros that follows the last member.

    Raises:
        EOFError: it is cut short.
    """
    with path.open("rb") as stream:
        stream.seek(place)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise EOFError


def _label(text: str, ending: str, name: str | None) -> Any:
    if ending == "cls":
        return text.strip()
    entries = json.loads(text)
    if not isinstance(entries, dict):
        return None
    names = ("label", "cls") if name is None else (name,)
    value = next((entries[one] for one in names if one in entries), None)
    return None if value is None or isinstance(value, list | dict) else str(value)


def _labels_of(rows: list[_Row], path: Path) -> np.ndarray | None:
    """Labels as numbers where all are, else as text."""
    count = Counter(row.label is not None for row in rows)
    if not count[True]:
        return None
    if count[False]:
        without = next(row.key for row in rows if row.label is None)
        raise DataError(
            f"{count[False]:,} of {len(rows):,} rows of '{clipped(path.name)}' have no label, such as "
            f"'{clipped(without.strip('/'), 30)}'; give each a .cls or .json, or none."
        )
    return np.array([row.label for row in rows], dtype=object)


def _picture(content: io.BytesIO) -> np.ndarray:
    from PIL import Image

    with Image.open(content) as image:
        return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
