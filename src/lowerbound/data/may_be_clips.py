"""Whether arrays of bytes may be grey clips, so that whoever gives them can be told how to say so.

Pictures have one to four channels and clips an axis for these. Bytes (N, T, H, W) with another T have neither, and are
taken for numbers on a grid.
"""

from __future__ import annotations

from typing import Any

__all__ = ["clips_in_words"]


def clips_in_words(x: Any, what: str) -> str | None:
    """A sentence for the user about rows (N, …) of the kind "array"; None where they are no bytes of four axes."""
    if str(getattr(x, "dtype", "")) != "uint8" or getattr(x, "ndim", 0) != 4:
        return None
    frames, height, width = x.shape[1:]
    return (
        f"{what} holds bytes of {frames} x {height} x {width}, which are taken for numbers, as neither the first nor "
        f"the last of these is 1 to 4 channels: if they are {frames} grey frames, give "
        f"(N, {frames}, 1, {height}, {width}), which x[:, :, None] is."
    )
