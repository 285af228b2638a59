"""Files of coded rows that were altered, whose hash agrees nevertheless; and what is no such file."""

from __future__ import annotations

import hashlib
import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

__all__ = ["altered_file"]

VALUES: list[Any] = [None, -1, 0, 1, 2, 255, 333_333_333, 10**9, 10**19, 1.5, "", "x" * 400, [], {}, [[1]], True, [-1]]


def altered_file(file: Path, folder: Path, rng: random.Random) -> Path:
    """A copy of a file with one entry of its header, or some of its bytes, changed."""
    path = folder / f"l-{rng.randrange(10**12)}.lb"
    if rng.random() < 0.1:
        if rng.random() < 0.5:
            os.mkfifo(path)
            return path
        return Path(rng.choice(["/dev/zero", "/dev/null", str(folder)]))
    content = file.read_bytes()
    length = int.from_bytes(content[4:8], "big")
    header, rest = json.loads(zlib.decompress(content[8 : 8 + length])), bytearray(content[8 + length : -32])
    for _ in range(rng.randint(1, 2)):
        if rng.random() < 0.8:
            inner = rng.choice([header, header, header.get("grid", header)])
            inner = inner if isinstance(inner, dict) and inner else header  # an earlier change may have replaced it
            inner[rng.choice(sorted(inner))] = rng.choice(VALUES)
        else:
            rest[rng.randrange(len(rest))] = rng.randrange(256)
    if rng.random() < 0.1:
        header |= {"rows": 333_333_333, "batch": 1}
    packed = zlib.compress(json.dumps(header).encode())
    body = content[:4] + len(packed).to_bytes(4, "big") + packed + bytes(rest)
    path.write_bytes(body + hashlib.sha256(body).digest())
    return path
