"""The program of a second process that reads molecules (`two_readers`): `python -m lowerbound.data.second_reader`.

On its standard input it is given parts of a file, a JSON list of lists of lines. It reads each into the cache, from
where the first process takes it. It ends when the first process is gone, or when what it reads is not kept.
"""

from __future__ import annotations

import json
import os
import sys

from lowerbound.data.smiles import place_of_part, read_part

__all__ = ["main"]


def main() -> str | None:
    """Read the parts; why not all of them, or None."""
    first = os.getppid()
    for part in map(tuple, json.load(sys.stdin)):
        if os.getppid() != first:
            return "The first process is gone."
        read_part(part)
        if not place_of_part(part).is_file():
            return f"Nothing can be written to {place_of_part(part).parent}."
    return None


if __name__ == "__main__":
    sys.exit(main())
