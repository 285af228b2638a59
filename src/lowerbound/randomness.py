"""Random numbers that depend on the seed, the process and the step alone.

Training draws from torch's global generators, because distributions and flows do. They are forked, so that the caller's
own state is untouched, and seeded anew at the start of every logging interval from (seed, rank, step). A resumed run
therefore needs no saved generator state to draw the same numbers.

A function with a seed puts its own name into the key: `forked(device, seed, "log_evidence")`. Two functions that are
given the same number then draw different streams, and neither draws the one that `torch.manual_seed` of that number
gives. Without this, an evaluation with seed 0 would draw the same noise from which its user made the data after
`torch.manual_seed(0)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["derive_seed", "forked"]


def derive_seed(*key: int | str) -> int:
    """One 63-bit seed from several non-negative integers and names, by NumPy's `SeedSequence`.

    Keys of different lengths give different seeds, unlike in `SeedSequence` alone, for which (7,) and (7, 0) are the
    same.

    >>> derive_seed(0) != 0, derive_seed(0, "summary") != derive_seed(0, "log_evidence")
    (True, True)
    """
    numbers = [_number_of(part) if isinstance(part, str) else part for part in key]
    return int(np.random.SeedSequence((len(key), *numbers)).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def forked(device: torch.device, *key: int | str) -> Iterator[None]:
    """Within this context torch's generators are seeded from `key`; afterwards their states are restored.

    Arguments:
        device: the device whose generator is forked besides that of the CPU.
        key: non-negative integers, such as a seed, a rank and a step, and the name of the function that draws.
    """
    on_cpu = device.type == "cpu"
    devices = [] if on_cpu else [device.index or 0]
    with torch.random.fork_rng(devices=devices, device_type="cuda" if on_cpu else device.type):
        # On a machine with a GPU `torch.manual_seed` would seed that too, and nothing would put it back.
        (torch.default_generator.manual_seed if on_cpu else torch.manual_seed)(derive_seed(*key))
        yield


def _number_of(name: str) -> int:
    """64 bits of a digest: the same on every machine, unlike `hash`."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
