"""Bits-back coding with K latents for a row: what is particular to more than one (Ruan, Ullrich, Severo, Townsend,
Khisti, Doucet, Makhzani & Maddison 2021, arXiv:2102.11086, BB-IS).

    pop z_1, …, z_K under q(z | x), and i under w_i / Σ_k w_k,        w_k = p(x, z_k) / q(z_k | x)
    push the other z_k under q(z | x), x under p(x | z_i), z_i under p(z), and i under 1 / K

A row takes Σ_k log q(z_k | x) + log w_i − log Σ_k w_k − Σ_{k ≠ i} log q(z_k | x) − log p(x, z_i) + log K =
−log (1/K Σ_k w_k) nats, −L_K on average. What the first rows borrow is K times as much, and each row is decoded K
times, by whoever writes and by whoever reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.coding.families import Family
from lowerbound.coding.numbering import Steps
from lowerbound.coding.stack import BitStack
from lowerbound.coding.symbols import Elements, pop, push
from lowerbound.distributions import distribution_functions
from lowerbound.hooks import Latents

__all__ = ["Drawn", "bits_of_mean", "chosen_first", "in_their_places", "pop_choice", "push_choice"]

Drawn = tuple[list[np.ndarray], Latents]
"""The numbers (size, elements) of each layer of latents, and the latents."""


def bits_of_mean(bits: np.ndarray) -> np.ndarray:
    """−log₂ (1/K Σ_k w_k) of w = 2^−bits (K, rows): (rows,).

    >>> bits_of_mean(np.array([[1.0, 2.0], [1.0, 4.0]])).round(3).tolist()
    [1.0, 2.678]
    """
    least = bits.min(0)
    return least - np.log2(np.exp2(least - bits).mean(0))


def pop_choice(stack: BitStack, bits: np.ndarray | None, num: int, rows: int, size: int) -> np.ndarray:
    """Pop i of each row under w = 2^−bits (K, size), or 1 / K: (size,), rows that are not coded like the first."""
    found = pop(stack, _choice(bits, num, rows), rows)[0]
    return np.concatenate([found, np.repeat(found[:1], size - rows)])


def push_choice(stack: BitStack, bits: np.ndarray | None, num: int, rows: int, place: np.ndarray) -> None:
    """Undo `pop_choice`, or push i that are popped by it."""
    push(stack, _choice(bits, num, rows), place[None, :rows])


def chosen_first(drawn: Sequence[Drawn], place: np.ndarray) -> list[Drawn]:
    """The latents z_i of each row, and then the others in their order."""
    return _permuted(drawn, _order(place, len(drawn)))


def in_their_places(drawn: Sequence[Drawn], place: np.ndarray) -> list[Drawn]:
    """Undo `chosen_first`."""
    return _permuted(drawn, np.argsort(_order(place, len(drawn)), 0))


def _order(place: np.ndarray, num: int) -> np.ndarray:
    return np.stack([place, *(k + (k >= place) for k in range(num - 1))])


def _permuted(drawn: Sequence[Drawn], order: np.ndarray) -> list[Drawn]:
    numbers = [_taken(layer, order) for layer in zip(*(k for k, _ in drawn), strict=True)]
    latents = [z if isinstance(z, tuple) else (z,) for _, z in drawn]
    values = [_taken(layer, order) for layer in zip(*latents, strict=True)]
    layered = isinstance(drawn[0][1], tuple)
    return [
        ([k[j] for k in numbers], tuple(z[j] for z in values) if layered else values[0][j]) for j in range(len(order))
    ]


def _taken(items: Sequence[Any], order: np.ndarray) -> Any:
    """Of items (size, …) those in the order (K, size) of each row."""
    every = np.arange(order.shape[1])
    if isinstance(items[0], Tensor):
        return torch.stack(list(items))[torch.from_numpy(order), torch.from_numpy(every)]
    return np.stack(items)[order, every]


def _choice(bits: np.ndarray | None, num: int, rows: int) -> Elements:
    weights = np.ones((num, rows)) if bits is None else np.exp2(bits.min(0) - bits)[:, :rows]
    ends = np.add.accumulate(weights, 0)
    share = np.ascontiguousarray((ends / ends[-1]).T)[None]
    family = Family(distribution_functions.table, (share, np.ones((1, rows))))
    return Elements(family, Steps.of(1, size=num), floored=bits is None)
