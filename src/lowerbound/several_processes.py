"""Sums over the processes of a training: of what each has seen of its share of the rows."""

from __future__ import annotations

from torch import Tensor, distributed

__all__ = ["are_several", "sum_over_processes"]


def are_several() -> bool:
    """Whether this training has several processes."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def sum_over_processes(*sums: Tensor) -> None:
    """Add up in place what all processes hold; nothing where there is one."""
    if are_several():
        for one in sums:
            distributed.all_reduce(one)
