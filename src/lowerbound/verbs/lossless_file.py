"""The bytes of a file of rows that were coded without loss.

    b"LBND"  length of the header (4 bytes)  header (JSON, deflated)  gaps (deflated)  rests  stack
    sha256 of all before

A file with rests, what real numbers have below the step of their grid, is of format 3, which older versions refuse;
all others are of format 2.

The hash comes first in reading: a file that was cut off or altered is refused before any of it is believed. Sizes that
the header states are held against limits before memory is asked for.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowerbound.limits import MOST_CODED

__all__ = ["FORMAT", "Content", "pack", "unpack"]

FORMAT, _WITHOUT_RESTS = 3, 2
_MAGIC, _HASH, _MOST_HEADER, _MOST_BATCH = b"LBND", 32, 1 << 26, 1 << 16
_MOST_ROWS_OF_A_BIT = 1 << 10  # a millibit a row, far below what rows take that are not all the same
_COUNTS = ("rows", "elements", "words", "lanes", "lent", "batch", "gaps", "rests")


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file holds.

    Attributes:
        header: plain values.
        seen: where there is a value (rows, elements); None for everywhere.
        stack: the bytes of the stack.
        rests: see `lossless_rests`.
    """

    header: dict[str, Any]
    seen: np.ndarray | None
    stack: bytes
    rests: bytes = b""


def pack(content: Content) -> bytes:
    """The bytes of a file."""
    gaps = b"" if content.seen is None else zlib.compress(np.packbits(content.seen).tobytes(), 9)
    header = {**content.header, "format": _WITHOUT_RESTS, "gaps": len(gaps)}
    if content.rests:
        header |= {"format": FORMAT, "rests": len(content.rests)}
    words = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    body = _MAGIC + len(words).to_bytes(4, "big") + words + gaps + content.rests + content.stack
    return body + hashlib.sha256(body).digest()


def unpack(data: bytes) -> Content:
    """Read what `pack` gave.

    Raises:
        ValueError: the bytes are no such file, are damaged, or are of another version; the sentence has no subject.
    """
    if not data.startswith(_MAGIC):
        raise ValueError("is no file that compress wrote; name one that ends in .lb.")
    body, stated = data[:-_HASH], data[-_HASH:]
    if hashlib.sha256(body).digest() != stated:
        raise ValueError("is damaged or cut off; copy it again from where it was written.")
    length = int.from_bytes(body[4:8], "big")
    try:
        header = json.loads(_inflated(body[8 : 8 + length], _MOST_HEADER))
        if header["format"] not in (_WITHOUT_RESTS, FORMAT):
            raise _Newer(header["format"])
        header = {"rests": 0, **header}
        if any(type(header[name]) is not int or header[name] < 0 for name in _COUNTS):
            raise ValueError("sizes")
        rows, elements = header["rows"], header["elements"]
        if rows * elements > MOST_CODED or rows > 8 * len(data) * _MOST_ROWS_OF_A_BIT:
            raise ValueError("sizes")
        if not 0 < header["batch"] <= _MOST_BATCH or header["lanes"] > header["batch"]:
            raise ValueError("sizes")
        rest = body[8 + length :]
        gaps, rest = rest[: header["gaps"]], rest[header["gaps"] :]
        rests, stack = rest[: header["rests"]], rest[header["rests"] :]
        return Content(header=header, seen=_seen(gaps, rows, elements) if gaps else None, stack=stack, rests=rests)
    except _Newer as error:
        raise ValueError(
            f"has format {str(error)[:20]} and this version reads {_WITHOUT_RESTS} and {FORMAT}; use the version that "
            "wrote it."
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error):
        raise ValueError("has a header that is not readable; it was altered.") from None


class _Newer(Exception):
    pass


def _inflated(data: bytes, most: int) -> bytes:
    """Inflate to at most so many bytes."""
    inflating = zlib.decompressobj()
    found = inflating.decompress(data, most)
    if inflating.unconsumed_tail or not inflating.eof:
        raise ValueError("it is longer than it may be")
    return found


def _seen(gaps: bytes, rows: int, elements: int) -> np.ndarray:
    found = np.frombuffer(_inflated(gaps, -(-rows * elements // 8) + 1), np.uint8)
    if len(found) != -(-rows * elements // 8):
        raise ValueError("gaps of another size")
    return np.unpackbits(found, count=rows * elements).astype(bool).reshape(rows, elements)
