"""Held-out data, and the terms of a loss on them: the same random numbers at every evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowerbound.data.feed import Data, source_of
from lowerbound.randomness import forked
from lowerbound.training.engine import Engine

__all__ = ["HeldOut", "held_out_terms"]

_HELD_OUT = 1  # tells the random numbers of evaluation from those of training


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Held-out data, whose bound measures the progress of training.

    Arguments:
        source: rows that are not for training: any data that `train` takes, except loaders.
        every: steps between evaluations; they happen at the next record.
        patience: evaluations without a better bound after which training stops; None never stops.
        patience_from: the step after which such evaluations are counted.
        batch_size: rows evaluated at a time.
    """

    source: Data
    every: int
    patience: int | None = None
    patience_from: int = 0
    batch_size: int = 1000


@torch.no_grad()
def held_out_terms(loss: nn.Module, plan: HeldOut, seed: int, engine: Engine) -> dict[str, float]:
    """The mean of every term over held-out rows, shared among the processes; the same random numbers at every call.

    They are computed in fp32 also where training is in another precision, so that weights are chosen by the bound that
    `evaluate` computes.
    """
    loss.eval()
    source = source_of(plan.source, loss, engine.torch_device)
    mine = torch.arange(len(source)).tensor_split(engine.world_size)[engine.rank]
    total: dict[str, Tensor] = {}
    with forked(engine.torch_device, seed, engine.rank, 0, _HELD_OUT):
        for rows, counted in _blocks(mine, plan.batch_size, len(source), engine.world_size):
            output = loss(*source.transform(*source.gather(rows)))
            for name, term in output.terms.items():
                total[name] = total.get(name, 0.0) + term.float() * counted
    summed = torch.stack(list(total.values())) / len(source)
    means = (engine.mean(summed) * engine.world_size).tolist()
    return dict(zip(total, means, strict=True))


def _blocks(mine: Tensor, size: int, num_rows: int, world_size: int) -> list[tuple[Tensor, int]]:
    """The rows of this process, a block at a time, and how many of them count.

    All processes evaluate as often as the one with the most rows, which they must where layers are divided, and so that
    each has terms: others end with a row that does not count.
    """
    blocks = [(rows, len(rows)) for rows in mine.split(size) if len(rows)]
    most = math.ceil(math.ceil(num_rows / world_size) / size)
    return blocks + [(torch.zeros(1, dtype=torch.long), 0)] * (most - len(blocks))
