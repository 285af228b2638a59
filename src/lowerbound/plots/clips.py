"""Clips as animations, and as strips of their frames side by side."""

from __future__ import annotations

import io

import numpy as np

from lowerbound.plots.images import tiled

__all__ = ["clip_animation", "filmstrips"]

_MILLISECONDS, _PIXELS = 150, 320


def filmstrips(clips: np.ndarray) -> np.ndarray:
    """Clips (n, T, C, H, W) as pictures (n, C, H, T W), with the frames from left to right.

    >>> filmstrips(np.zeros((2, 5, 1, 4, 3))).shape
    (2, 1, 4, 15)
    """
    n, num_frames, channels, height, width = clips.shape
    return clips.transpose(0, 2, 3, 1, 4).reshape(n, channels, height, num_frames * width)


def clip_animation(clips: np.ndarray) -> bytes:
    """An endless GIF that shows clips beside one another.

    Arguments:
        clips: (n, T, C, H, W) in [0, 1].
    """
    from PIL import Image

    pictures = [(tiled(frame) * 255).round().astype(np.uint8) for frame in clips.swapaxes(0, 1)]
    factor = max(1, _PIXELS // max(pictures[0].shape[:2]))
    images = [Image.fromarray(picture.repeat(factor, 0).repeat(factor, 1)) for picture in pictures]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0)
    return buffer.getvalue()
