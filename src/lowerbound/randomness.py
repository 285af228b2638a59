"""Random numbers that depend on the seed, the process and the step alone.

Training draws from torch's global generators, because distributions and flows do. They are forked, so that the caller's
own state is untouched, and seeded anew at the start of every logging interval from (seed, rank, step). A resumed run
therefore needs no saved generator state to draw the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["derive_seed", "forked"]


def derive_seed(*key: int) -> int:
    """One 63-bit seed from several non-negative integers, by NumPy's `SeedSequence`.

    Keys of different lengths are told apart, which `SeedSequence` does not do alone: it takes (7,) and (7, 0) for one.
    """
    return int(np.random.SeedSequence((len(key), *key)).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def forked(device: torch.device, *key: int) -> Iterator[None]:
    """Inside, torch's generators are seeded from `key`; on leaving, they are as they were.

    Arguments:
        device: whose generator to fork beside the CPU's.
        key: non-negative integers, such as a seed, a rank and a step.
    """
    devices = [] if device.type == "cpu" else [device.index or 0]
    with torch.random.fork_rng(devices=devices, device_type="cuda" if device.type == "cpu" else device.type):
        torch.manual_seed(derive_seed(*key))
        yield
