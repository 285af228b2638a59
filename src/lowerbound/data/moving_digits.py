"""Clips of two digits that move and bounce, after Moving MNIST (Srivastava, Mansimov & Salakhutdinov 2015,
arXiv:1502.04681, §4.1), in 32 × 32 pixels and ten frames.

Two digits of MNIST, halved to 14 × 14, start at random places and move in random directions by 1 to 2 pixels a frame,
straight on until they meet a side. Where both lie, the brighter pixel is seen. Training clips hold training digits and
test clips test digits. Everything comes from one seed: the clips are the same bytes every time.
"""

from __future__ import annotations

import numpy as np

from lowerbound.data.catalog import Entry
from lowerbound.data.dataset import Dataset

__all__ = ["load_moving_digits", "moving_digits"]

_SIDE, _FRAMES, _SEED = 32, 10, 1502
_SLOWEST, _FASTEST = 1.0, 2.0


def moving_digits(
    digits: np.ndarray,
    num_clips: int,
    *,
    num_frames: int = _FRAMES,
    side: int = _SIDE,
    num_digits: int = 2,
    seed: int = 0,
) -> np.ndarray:
    """Generate clips (num_clips, num_frames, 1, side, side), uint8.

    Arguments:
        digits: pictures (N, 28, 28), uint8.
        num_clips: how many.
        num_frames: of each.
        side: height and width of a frame.
        num_digits: in each clip.
        seed: of the digits, places and directions.
    """
    g = np.random.default_rng(seed)
    small = digits.reshape(len(digits), 14, 2, 14, 2).mean((2, 4)).round().astype(np.uint8)
    room = side - small.shape[-1]
    start = g.uniform(0, room, (num_clips, num_digits, 1, 2))
    angle, speed = (
        g.uniform(0, 2 * np.pi, (num_clips, num_digits)),
        g.uniform(_SLOWEST, _FASTEST, (num_clips, num_digits)),
    )
    step = (speed * np.stack([np.cos(angle), np.sin(angle)])).transpose(1, 2, 0)[:, :, None]
    straight = start + step * np.arange(num_frames)[:, None]
    place = np.rint(room - np.abs(straight % (2 * room) - room)).astype(np.int64)  # reflected at both sides
    which = g.integers(len(small), size=(num_clips, num_digits))
    clips = np.zeros((num_clips, num_frames, 1, side, side), np.uint8)
    for n, digit, t in np.ndindex(num_clips, num_digits, num_frames):
        row, column = place[n, digit, t]
        seen = clips[n, t, 0, row : row + 14, column : column + 14]
        np.maximum(seen, small[which[n, digit]], out=seen)
    return clips


def load_moving_digits(entry: Entry, *, download: bool) -> Dataset:
    """The clips of the data set "moving-digits", made of the pictures of MNIST."""
    from lowerbound.data.catalog import load

    assert entry.made_of is not None
    mnist = load(entry.made_of, download=download)
    parts = (np.asarray(mnist.x_train), entry.num_train, _SEED), (np.asarray(mnist.x_test), entry.num_test, _SEED + 1)
    train, test = (moving_digits(x, count, seed=seed) for x, count, seed in parts)
    return Dataset.from_arrays(name=entry.name, kind=entry.kind, x_train=train, x_test=test, source=entry.origin)
