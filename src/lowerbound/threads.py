"""How many threads compute: one for small products, where threads cost more than they save and wait for each other; and
for how long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["computing_seconds", "one_thread"]


def computing_seconds() -> float:
    """A clock of what this process computes, shared among its threads: other processes hardly change it."""
    return time.process_time() / torch.get_num_threads()


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Compute in one thread, if wanted; before and after in as many as torch was told."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
