"""A distribution over a whole event as turns, each over elements that are independent given the turns before it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from lowerbound.coding.families import Family, family_of
from lowerbound.coding.numbering import LatentCells, Steps
from lowerbound.coding.stack import BitStack
from lowerbound.coding.symbols import Elements, pop, push
from lowerbound.distributions.in_turn import gaussian_in_turn
from lowerbound.hooks import ComesInTurn, Turn

__all__ = ["Batch", "NumberingOf", "first_family", "pop_event", "push_event", "values_of", "visited"]

NumberingOf = Callable[[Family, np.ndarray], Steps | LatentCells]
"""From the family of a turn and the places of its elements to the numbers of their values."""


class Batch(NamedTuple):
    """Rows of a batch of fixed size, of which the first are coded.

    Attributes:
        rows: how many are coded.
        size: of the batch, with which nets are called.
        part: "likelihood", "prior" or "posterior", for messages.
        floored: see `symbols.Elements`.
        seen: which elements (rows, event) there are; None for all.
    """

    rows: int
    size: int
    part: str
    floored: bool
    seen: np.ndarray | None = None


def push_event(stack: BitStack, p: Distribution, numbering_of: NumberingOf, k: np.ndarray, batch: Batch) -> None:
    """Push events numbered k (size, event) under p."""
    known: list[tuple[Elements, np.ndarray]] = []
    for elements, places, send in visited(p, numbering_of, batch):
        numbers = np.ascontiguousarray(k[:, places].T)
        known.append((elements, numbers[:, : batch.rows]))
        send(numbers)
    for elements, numbers in reversed(known):
        push(stack, elements, numbers)


def pop_event(stack: BitStack, p: Distribution, numbering_of: NumberingOf, num: int, batch: Batch) -> np.ndarray:
    """Pop events of `num` elements: their numbers (size, num). Rows that are not coded are like the first."""
    k = np.zeros((batch.size, num), np.int64)
    for elements, places, send in visited(p, numbering_of, batch):
        found = pop(stack, elements, batch.rows)
        numbers = np.concatenate([found, np.repeat(found[:, :1], batch.size - batch.rows, 1)], 1)
        k[:, places] = numbers.T
        send(numbers)
    return k


def visited(
    p: Distribution, numbering_of: NumberingOf, batch: Batch
) -> Generator[tuple[Elements, np.ndarray, Callable[[np.ndarray], None]], None, None]:
    """Each turn of p: its elements, their places, and a function that is to be told their numbers (n, size)."""
    turns = _turns(p, batch.size)
    sent: list[Tensor | None] = [None]
    while True:
        try:
            factor, at, *present = turns.send(sent[0])  # pyright: ignore[reportArgumentType]
        except StopIteration:
            return
        family = family_of(factor, batch.rows, batch.size, batch.part)
        places = np.arange(len(family.parameters[0])) if at is None else at.numpy()
        numbering = numbering_of(family, places)
        seen = None if batch.seen is None else np.ascontiguousarray(batch.seen[: batch.rows, places].T)
        if present:
            there = np.broadcast_to(present[0].numpy()[: batch.rows], (len(places), batch.rows))
            seen = there if seen is None else seen & there
        coded = numbering.in_rows(slice(0, batch.rows))

        def tell(k: np.ndarray, family: Family = family, numbering: Steps | LatentCells = numbering) -> None:
            sent[0] = values_of(k, family, numbering)

        yield Elements(family, coded, batch.floored, None if seen is None or seen.all() else seen), places, tell


def values_of(k: np.ndarray, family: Family, numbering: Steps | LatentCells) -> Tensor:
    """The values (rows, n, *value) numbered k (n, rows)."""
    if family.values == "one-hot":
        return torch.nn.functional.one_hot(torch.from_numpy(k.T.copy()), family.num_classes).double()
    return torch.from_numpy(np.ascontiguousarray(numbering.value(k).T))


def _turns(p: Distribution, size: int) -> Generator[Turn | tuple[Distribution, None], Tensor, None]:
    """The turns of p; None for all places in their order."""
    if isinstance(p, ComesInTurn):
        yield from p.in_turn(size)
    elif isinstance(p, MultivariateNormal):
        yield from gaussian_in_turn(p.loc, p.scale_tril)
    else:
        yield p, None


def first_family(p: Distribution, size: int, part: str) -> Family:
    """The family of the first turn, whose values are of the same kind as all others.

    Raises:
        ValueError: p cannot be coded.
    """
    factor, *_ = next(_turns(p, size))
    return family_of(factor, size, size, part)
