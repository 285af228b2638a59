"""Parts of a file that are read by two processes: this one, and a second that leaves what it reads in the cache.

    every second part of those that are not in the cache  →  second process  →  cache  →  this process

The second process is a program of this library, which runs with the modules that are found here. Parts that are not in
the cache when it ends are read by this process, so that what is read does not depend on it; that it ended early is
said. It ends with this process, whatever ends that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias, TypeVar

from lowerbound.data.passes import passed

__all__ = ["read_parts"]

_FEWEST = 4  # parts to read; a process takes longer to start than it saves on fewer
_POLL = 0.05  # seconds
_PROGRAM = "lowerbound.data.second_reader"

_Made = TypeVar("_Made")
_Part: TypeAlias = tuple[str, ...]


def read_parts(
    parts: Sequence[_Part], place_of: Callable[[_Part], Path], read: Callable[[_Part], list[_Made]]
) -> Iterator[list[_Made]]:
    """What is read of each part, in order, by two processes where several parts are not in the cache.

    Arguments:
        parts: lines of a file.
        place_of: the file in the cache that a part has once it is read.
        read: takes a part from the cache, or reads it and puts it there.

    Warns:
        DataWarning: the second process ended before it had read its parts.
    """
    places = list(map(place_of, parts))
    missing = [i for i, place in enumerate(places) if not place.is_file()]
    theirs = missing[1::2] if len(missing) >= _FEWEST and _cores() > 1 and sys.executable else []
    with tempfile.TemporaryFile() as said, _second([parts[i] for i in theirs], said) as second:
        for i, part in enumerate(parts):
            if i in theirs and second is not None and not _left(places[i], second):
                _warn(second, said)
                second = None
            yield read(part)
            passed("molecules", i + 1, len(parts))


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _second(parts: list[_Part], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes] | None]:
    """The second process, which ends with the block; None where it has no parts."""
    if not parts:
        yield None
        return
    folders = [os.path.abspath(each) for each in sys.path if isinstance(each, str)]  # "" is the current one
    found_here = {"PYTHONPATH": os.pathsep.join(folders), "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryFile() as given:
        given.write(json.dumps(parts).encode())
        given.seek(0)
        second = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM],
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, **found_here},
            start_new_session=True,  # an interrupt reaches this process alone, which ends the other
        )
    try:
        yield second
    finally:
        second.kill()
        second.wait()


def _left(place: Path, second: subprocess.Popen[bytes]) -> bool:
    """Wait until the second process has left a part in the cache; False if it has ended without."""
    while not place.is_file():
        if second.poll() is not None:
            return place.is_file()
        time.sleep(_POLL)
    return True


def _warn(second: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    from lowerbound.data.remarks import DataWarning  # needs torch, which takes seconds in the second process

    said.seek(0)
    last = said.read().decode(errors="replace").strip().rpartition("\n")[2].rstrip(".")
    why = f": {last}" if last else f", by signal {-second.returncode}" if second.returncode < 0 else ""
    warnings.warn(
        f"The second of two processes that read molecules ended early{why}; this one reads the rest.",
        DataWarning,
        stacklevel=3,
    )
