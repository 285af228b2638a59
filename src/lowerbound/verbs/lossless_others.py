"""What other programs make of the same rows: gzip, bz2 and lzma on their bytes, and PNG on images."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["sizes_of_others"]


def sizes_of_others(rows: Any, kind: str, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
    """Bytes by the name of the program, each at its best level.

    Arguments:
        rows: in the form of the user's data.
        kind: of the data.
        progress: called after each program.
    """
    content = _bytes_of(rows)
    programs = {
        "gzip": lambda: len(gzip.compress(content, 9)),
        "bz2": lambda: len(bz2.compress(content, 9)),
        "lzma": lambda: len(lzma.compress(content, preset=9)),
    }
    if kind == "image" and find_spec("PIL") is not None and rows.dtype.kind in "biu":
        programs["png"] = lambda: _png(rows)
    sizes = {}
    for done, (name, size) in enumerate(programs.items(), 1):
        sizes[name] = size()
        if progress is not None:
            progress(len(rows) * done // len(programs), len(rows))
    return sizes


def _bytes_of(rows: Any) -> bytes:
    """Few bytes that say the same: a bit for each of two values, a byte for small whole numbers, text of tables."""
    if isinstance(rows, list):
        return "".join(f"{line}\n" for line in rows).encode()
    if hasattr(rows, "to_csv"):
        return rows.to_csv(index=False).encode()
    x = np.asarray(rows)
    low, high = np.min(x), np.max(x)
    if bool(((x == low) | (x == high)).all()):
        return np.packbits(x != low).tobytes()
    if bool((x == np.rint(x)).all()) and low >= 0 and high < 1 << 16:
        x = x.astype(np.uint8 if high < 256 else np.uint16)
    return np.ascontiguousarray(x).tobytes()


def _png(images: np.ndarray) -> int:
    """All images below one another in one file."""
    from PIL import Image

    x = images[..., None] if images.ndim == 3 else images
    x = x if x.shape[-1] <= 4 else np.moveaxis(x, 1, -1)
    strip = np.ascontiguousarray(x.reshape(-1, *x.shape[2:])).astype(np.uint8)
    two = x.shape[-1] == 1 and len(np.unique(strip)) <= 2
    grey = strip[..., 0] if strip.shape[-1] == 1 else strip
    picture = Image.fromarray(grey > 0) if two else Image.fromarray(grey)
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return buffer.tell()
