"""The batches of a run by step, and those that a stream of row numbers takes from a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Int64
from torch import Tensor

from lowerbound.data.permutation import KEYED_ABOVE
from lowerbound.data.source import Source, units_of
from lowerbound.data.stream import Stream

__all__ = ["ORDER", "Feed", "Numbered"]

ORDER = 2
"""The version of the order in which rows come; the numbers of new runs change with it."""


@runtime_checkable
class Feed(Protocol):
    """The batches of a run, by step."""

    @property
    def resumable(self) -> bool:
        """Whether the batch of any step can be requested again."""
        ...

    @property
    def transform(self) -> Callable[..., tuple[Tensor, ...]]:
        """From a raw batch to the tensors that the loss takes."""
        ...

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """The raw batch of a step, on the device."""
        ...

    def rows(self, step: int) -> Int64[Tensor, " row"] | None:
        """The numbers of its rows, over all processes; None where rows have none."""
        ...

    def epoch_of(self, step: int) -> float:
        """How many times the data have been seen before a step."""
        ...


class Numbered:
    """The batches that a stream of row numbers takes from a source.

    Arguments:
        source: rows by number.
        batch_size, seed, rank, world_size: see `Stream`.

    Attributes:
        order: the version of the order of the rows, which a checkpoint keeps: 1 for runs of before order 2, that hold
            the permutation of an epoch in memory; 2 for those that compute it (`permutation`).
    """

    resumable = True

    def __init__(self, source: Source, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1):
        self.source, self.transform = source, source.transform
        self._arguments = (len(source), batch_size, seed), {"rank": rank, "world_size": world_size}
        self.take_order(ORDER)

    def take_order(self, order: int) -> None:
        """Follow the order of a version.

        Raises:
            ValueError: there is no such version.
        """
        if order not in (1, ORDER):
            raise ValueError(f"order is {order}; expected 1 or {ORDER}.")
        sizes, place = self._arguments
        how = {
            "units": units_of(self.source) if order == ORDER else None,
            "keyed_above": KEYED_ABOVE if order == ORDER else sizes[0],
        }
        self.order, self.mine, self.all = order, Stream(*sizes, **place, **how), Stream(*sizes, **how)

    @property
    def waited(self) -> float:
        """Seconds that steps have waited for rows; those in memory are never waited for."""
        return 0.0

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """See `Feed`."""
        return self.source.gather(self.mine[step])

    def close(self) -> None:
        """Stop reading."""

    def rows(self, step: int) -> Int64[Tensor, " row"]:
        """See `Feed`."""
        return self.all[step]

    def epoch_of(self, step: int) -> float:
        """See `Feed`."""
        return self.mine.epoch_of(step)
