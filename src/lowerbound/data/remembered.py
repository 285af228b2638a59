"""Results of a pass over files, remembered by the names, sizes and times of the files.

To check and to sum up a file larger than memory takes minutes, and each command opens it anew. What was found is kept
as JSON in the cache of this user. A file with another size, time of change or place is read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from lowerbound.data.download import cache_folder
from lowerbound.data.kept import put, taken

__all__ = ["remembered"]

_FORMAT = 1  # to be raised when a pass changes its meaning

_Found = TypeVar("_Found", bound=str | int | float | bool | list | None)


def remembered(x: Any, name: str, make: Callable[[], _Found]) -> _Found:
    """What `make` finds in rows: made, or remembered if the rows are those of files that have not changed.

    Arguments:
        x: rows; those in memory have no `identity`, and `make` is called.
        name: of the pass, with all that it depends on besides the rows.
        make: the pass, which gives a plain value; nothing is remembered if it raises.
    """
    identity = getattr(x, "identity", None)
    if identity is None:
        return make()
    key = hashlib.sha256(json.dumps([_FORMAT, name, identity]).encode()).hexdigest()
    path = cache_folder() / "passes" / f"{key}.json"
    try:
        return json.loads(taken(path) or b"")["found"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = make()
        put(path, json.dumps({"pass": name, "found": found}).encode())
        return found
