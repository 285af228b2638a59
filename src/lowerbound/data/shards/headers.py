"""The header of an .npy file: shape, type and order, read before anything else is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Header", "header_of"]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an array is.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        fortran: whether the first axis, not the last, is the one whose numbers lie beside each other.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False


def header_of(stream: Any) -> Header | None:
    """The header, after which the stream stands where the numbers begin; None if there is none."""
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            return None
        shape, fortran, dtype = read(stream)
    except ValueError:
        return None
    if any(n < 0 for n in shape):
        return None
    return Header(shape=tuple(int(n) for n in shape), dtype=dtype, fortran=bool(fortran))
