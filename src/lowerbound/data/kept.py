"""Results for lines of a file, kept in the cache of this user as JSON under the checksum of the lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from lowerbound.data.download import cache_folder, make_folder

__all__ = ["kept", "place_of", "put", "taken"]

_FORMAT = "1"  # to be raised when what is kept changes its meaning
_CHECKSUM = hashlib.sha256().digest_size

_Made = TypeVar("_Made")


def kept(lines: Sequence[str], make: Callable[[str], _Made], cls: type[_Made], version: str) -> list[_Made]:
    """What `make` gives for each line: from the cache, or made and put there.

    Arguments:
        lines: of the file.
        make: from a line to a `cls`.
        cls: a dataclass of plain values and tuples of them.
        version: of whatever else the results depend on.
    """
    path = place_of(lines, cls, version)
    found = _read(path, cls, len(lines))
    if found is None:
        found = [make(line) for line in lines]
        content = json.dumps([asdict(cast(Any, one)) for one in found])
        put(path, gzip.compress(content.encode(), compresslevel=3))
    return found


def place_of(lines: Sequence[str], cls: type, version: str) -> Path:
    """The file of the cache in which what `kept` makes of lines is kept."""
    words = "\0".join((_FORMAT, cls.__name__, version, *lines))
    return cache_folder() / "lines" / f"{hashlib.sha256(words.encode()).hexdigest()}.json.gz"


def put(path: Path, content: bytes) -> None:
    """Write a file of the cache in one step, after its checksum; a cache that cannot be written costs time alone."""
    with suppress(OSError):
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(name, path)
        except OSError:
            os.unlink(name)


def taken(path: Path) -> bytes | None:
    """The content of a file of the cache; None where there is none, or it is damaged and has to be made again."""
    try:
        whole = path.read_bytes() if path.is_file() else b""  # a pipe would be waited for
    except OSError:
        return None
    checksum, content = whole[:_CHECKSUM], whole[_CHECKSUM:]
    return content if hashlib.sha256(content).digest() == checksum else None


def _read(path: Path, cls: type[_Made], count: int) -> list[_Made] | None:
    """None where there is no such file, or it is damaged and has to be made again."""
    content = taken(path)
    if content is None:
        return None
    try:
        rows = json.loads(gzip.decompress(content))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return None
    names = {field.name for field in fields(cast(Any, cls))}
    if (
        not isinstance(rows, list)
        or len(rows) != count
        or not all(isinstance(r, dict) and set(r) <= names for r in rows)
    ):
        return None
    return [cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}) for row in rows]
