"""What real numbers have below the step of a grid, bit for bit.

    o(x) = the place of x among all numbers of its type in their order, from that of 0 on
    cell k = {x: a_k ≤ x < a_{k+1}},  n_k = o(a_{k+1}) − o(a_k)          rest of x = o(x) − o(a_k) in ⌈log₂ n_k⌉ bits

A measured number has digits that no model knows anything of: within a cell that is narrow beside σ a density is even,
and they take as many bits as they are. The model codes k, and rests stand in the file as they are. A cell about 0 has
more numbers than others (2⁶³ of type float64), so that a value there takes up to 63 bits.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

__all__ = ["Ends", "pack_rests", "steps_to_cell", "unpack_rests"]

Ends: TypeAlias = tuple[np.ndarray, np.ndarray]
"""a_k and a_{k+1} of the cells of some values, of the type of the values."""

_MAGNITUDE = {4: np.int64(0x7FFF_FFFF), 8: np.int64(0x7FFF_FFFF_FFFF_FFFF)}
_BLOCK = 1 << 16
_PLACES = np.arange(63, -1, -1, dtype=np.uint64)


def steps_to_cell(x: np.ndarray, ends: Ends) -> np.ndarray:
    """−1, 0 or 1: whether x lies below the cell with these ends, in it, or above it."""
    place, (low, high) = _place(x), (_place(end) for end in ends)
    return (place >= high).astype(np.int64) - (place < low)


def pack_rests(x: np.ndarray, ends: Ends) -> bytes:
    """The rests of values (n,) in cells with these ends; blocks of values end with whole bytes."""
    rest, sizes = _apart(_place(ends[0]), _place(x)), _sizes(ends)
    parts = []
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        bits = (rest[block, None] >> _PLACES & np.uint64(1)).astype(np.uint8)
        parts.append(np.packbits(bits[_widths(sizes[block])[:, None] > _PLACES]).tobytes())
    return b"".join(parts)


def unpack_rests(content: bytes, ends: Ends) -> np.ndarray:
    """The values (n,) whose rests `pack_rests` gave.

    Raises:
        ValueError: it gave them of other cells.
    """
    low, sizes = _place(ends[0]), _sizes(ends)
    rest, at = np.zeros(len(low), np.uint64), 0
    for start in range(0, len(low), _BLOCK):
        there = _widths(sizes[start : start + _BLOCK])[:, None] > _PLACES
        count = int(there.sum())
        block = np.frombuffer(content[at : at + -(-count // 8)], np.uint8)
        bits = np.zeros(there.shape, np.uint64)
        if 8 * len(block) < count:
            raise ValueError("rests that are cut off")
        bits[there] = np.unpackbits(block, count=count)
        rest[start : start + _BLOCK] = (bits << _PLACES).sum(1, dtype=np.uint64)
        at += len(block)
    if at != len(content) or (rest >= sizes).any():
        raise ValueError("rests of other numbers")
    return _value((low.astype(np.uint64) + rest).astype(np.int64), ends[0].dtype)


def _place(x: np.ndarray) -> np.ndarray:
    """o(x), int64; that of −0 is −1."""
    bits = x.view(f"i{x.itemsize}").astype(np.int64)
    return np.where(bits < 0, -1 - (bits & _MAGNITUDE[x.itemsize]), bits)


def _value(place: np.ndarray, dtype: np.dtype) -> np.ndarray:
    magnitude = np.where(place < 0, -1 - place, place)
    found = magnitude.astype(f"i{dtype.itemsize}").view(dtype)
    return np.where(place < 0, -found, found)


def _apart(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """high − low, not negative, uint64: it can be more than an int64 holds."""
    return high.astype(np.uint64) - low.astype(np.uint64)


def _sizes(ends: Ends) -> np.ndarray:
    return _apart(_place(ends[0]), _place(ends[1]))


def _widths(sizes: np.ndarray) -> np.ndarray:
    """⌈log₂ n⌉ or one more of each."""
    return np.frexp((sizes - np.uint64(1)).astype(np.float64))[1].astype(np.uint64)
