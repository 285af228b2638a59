"""How much memory is available, which is checked before an array is made whose size comes from a file."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError

__all__ = ["available_memory", "check_memory", "size_in_words"]

_MEMINFO = Path("/proc/meminfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")


def available_memory() -> int:
    """The available bytes, according to the system."""
    known = [_meminfo(), _control_group()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((n for n in known if n), default=2**63)


def check_memory(shape: Sequence[int], itemsize: int, name: str) -> None:
    """Refuse an array that would not fit into memory.

    Raises:
        DataError: giving its size and the available memory.
    """
    needed, there = math.prod(shape) * itemsize, available_memory()
    if needed > there:
        raise DataError(
            f"{name} declares {_short(shape)} numbers, {size_in_words(needed)}, and {size_in_words(there)} of memory "
            "are free; give fewer rows, or a plain .npy file, which is read from the disk."
        )


def _short(shape: Sequence[int]) -> str:
    return " x ".join(f"{n:,}" if n < 10**12 else np.format_float_scientific(float(n), 1) for n in shape[:4])


def size_in_words(count: int) -> str:
    """Bytes as GiB."""
    return f"{count / 2**30:,.1f} GiB" if count < 2**60 else "an absurd number of bytes"


def _meminfo() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError, IndexError):
        return None


def _control_group() -> int | None:
    try:
        text = _CONTROL_GROUP.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
