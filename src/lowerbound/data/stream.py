"""Which rows go into which batch, from the seed alone, without end.

Let π_0, π_1, ... be independent random permutations of the N rows, one for each epoch. The stream
is their endless concatenation, and batch t is its positions [t B, (t + 1) B). So every batch has
the same size (compiled graphs and distributed ranks want that), every row is seen exactly once an
epoch, and a batch may straddle two epochs (or several, if B > N). π_e depends on (seed, e) only:
any batch can be computed without the ones before it, and a run resumes from its step number. No π_e of many rows is
held in memory (`permutation`); of rows that are read in units, π_e permutes units and then rows in windows (`windows`).

With W ranks each takes a contiguous part of B / W rows from every batch, so that the ranks together see the batches of
a single machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lowerbound.data.permutation import KEYED_ABOVE, Permutation
from lowerbound.data.windows import Windowed

__all__ = ["Stream", "Units"]


@dataclass(frozen=True, eq=False)
class Units:
    """Runs of rows that are read as a whole.

    Attributes:
        bounds: int64 (U + 1,), the first row of each unit and the number of all rows; no unit is empty.
        read: int64 (U,), how many rows are read with each unit: its own and those held out.
        window: the most rows that are read to be mixed, and held in memory, at a time.
    """

    bounds: np.ndarray
    read: np.ndarray
    window: int


class Stream:
    """The rows of each batch: ``stream[step]`` is an int64 tensor on the CPU.

    >>> stream = Stream(num_rows=4, batch_size=2, seed=0)
    >>> sorted(torch.cat([stream[0], stream[1]]).tolist())
    [0, 1, 2, 3]

    Arguments:
        num_rows: N, the number of rows in the data.
        batch_size: B, the rows of one batch over all ranks.
        seed: a non-negative integer.
        rank: which part of each batch this is.
        world_size: W, how many parts there are.
        units: in which rows are read; None where any row can be read alone.
        keyed_above: see `Permutation`.

    Raises:
        ValueError: if a number is out of range, or the batch cannot be divided among the ranks.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        units: Units | None = None,
        keyed_above: int = KEYED_ABOVE,
    ) -> None:
        for name, value in (("num_rows", num_rows), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1: give a positive number.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; expected a non-negative integer: give another seed.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; expected 0 <= rank < world_size = {world_size}.")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size is {batch_size}, which {world_size} ranks cannot share equally: give "
                f"a multiple of {world_size}."
            )
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.units = units
        self.keyed_above = keyed_above
        self._epochs: dict[int, Permutation | Windowed] = {}

    def __getitem__(self, step: int) -> Int64[Tensor, " row"]:
        """The rows of batch `step` that belong to this rank, (B / W,).

        Raises:
            IndexError: if `step` is negative.
        """
        if step < 0:
            raise IndexError(f"step is {step}; expected 0 or more: an endless stream has no last batch.")
        share = self.batch_size // self.world_size
        start = step * self.batch_size + self.rank * share
        stop = start + share
        epochs = range(start // self.num_rows, (stop - 1) // self.num_rows + 1)
        return torch.cat([self._part(epoch, start, stop) for epoch in epochs])

    def windows_at(self, step: int) -> tuple[Int64[np.ndarray, " unit"], Int64[np.ndarray, " next_unit"]] | None:
        """The first row of each unit of the window in which batch `step` ends, and of the window after it; None without
        units.
        """
        if self.units is None:
            return None
        epoch, position = divmod((step + 1) * self.batch_size - 1, self.num_rows)
        order = self._order(epoch)
        assert isinstance(order, Windowed)
        now, end = order.window(position), order.end_of_window(position)
        if end == self.num_rows:
            order, end = self._order(epoch + 1), 0
        assert isinstance(order, Windowed)
        return self.units.bounds[now], self.units.bounds[order.window(end)]

    def epoch_of(self, step: int) -> float:
        """How many times the data has been seen once `step` batches have been drawn."""
        return step * self.batch_size / self.num_rows

    def _part(self, epoch: int, start: int, stop: int) -> Tensor:
        """The rows that positions [start, stop) of the stream take from one epoch."""
        first = epoch * self.num_rows
        return self._order(epoch).part(max(0, start - first), min(self.num_rows, stop - first))

    def _order(self, epoch: int) -> Permutation | Windowed:
        """π_epoch; the two used last are kept."""
        if epoch not in self._epochs:
            while len(self._epochs) > 1:
                del self._epochs[next(iter(self._epochs))]
            seeds = (self.seed, epoch)
            self._epochs[epoch] = (
                Permutation(self.num_rows, seeds, keyed_above=self.keyed_above)
                if self.units is None
                else Windowed(self.units.bounds, self.units.read, self.units.window, seeds)
            )
        return self._epochs[epoch]
