"""Symbols on a stack: from the distribution functions of some elements to the parts of 2³⁰ that each value takes.

    C_k = ⌊F_k (2³⁰ − K)⌋ + k + 1        for what any value may be pushed under: each has at least one part
    C_k = ⌊F_k 2³⁰⌋                       for what is first popped: values without a part never come

A value k takes the parts C_{k−1}, …, C_k − 1; C_{K−1} is 2³⁰. Where K is above 2¹⁸ the upper bits of k are coded first
and the lower ones given these, so that the parts given to every value take no more than 2⁻¹⁶ of the probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lowerbound.coding.families import Family
from lowerbound.coding.numbering import LatentCells, Steps
from lowerbound.coding.stack import PARTS, BitStack, StackError

__all__ = ["Elements", "pop", "push"]

_MOST_AT_ONCE = 1 << 16
_LEAST_MASS = 1e-12

Shares: TypeAlias = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Elements:
    """n elements of some rows, which are independent given all that comes before them.

    Attributes:
        family: F of each.
        numbering: of their values.
        floored: whether any value may be pushed.
        seen: which elements (n, rows) there are; None for all.
    """

    family: Family
    numbering: Steps | LatentCells
    floored: bool
    seen: np.ndarray | None = None


def push(stack: BitStack, elements: Elements, k: np.ndarray) -> None:
    """Push the values numbered k (n, rows), the last element first."""
    for i in reversed(range(len(k))):
        lanes = _lanes(elements, i, k.shape[1])
        given = k[i][elements.seen[i]] if elements.seen is not None else k[i]
        if not len(given):
            continue
        for shares, size, part in reversed(list(_of_known(elements, i, given))):
            start, end = _parts(shares, size, part - 1, elements.floored), _parts(shares, size, part, elements.floored)
            if (end <= start).any():
                raise StackError("a value has no part")
            stack.push(start.astype(np.uint64), (end - start).astype(np.uint64), lanes)
            if not elements.floored:
                stack.stir(lanes)


def pop(stack: BitStack, elements: Elements, rows: int) -> np.ndarray:
    """Pop the numbers (n, rows), the first element first; 0 where there is no element."""
    n = len(elements.numbering.size)
    k = np.zeros((n, rows), np.int64)
    for i in range(n):
        lanes = _lanes(elements, i, rows)
        count = rows if elements.seen is None else int(elements.seen[i].sum())
        if not count:
            continue
        found = _popped(stack, elements, i, lanes, count)
        k[i, lanes if elements.seen is not None else slice(None)] = found
    return k


def _lanes(elements: Elements, i: int, rows: int) -> np.ndarray | slice:
    return slice(0, rows) if elements.seen is None else np.flatnonzero(elements.seen[i])


def _of_known(elements: Elements, i: int, k: np.ndarray) -> list[tuple[Shares, np.ndarray | int, np.ndarray]]:
    """The shares, the size and the symbol of one element, or of its upper and lower bits."""
    function, size = _function(elements, i), int(elements.numbering.size[i])
    low = _low_bits(size, elements.floored)
    if not low:
        return [(function, size, k)]
    upper = k >> low
    return [
        (_of_upper(function, size, low), (size - 1 >> low) + 1, upper),
        (*_of_lower(function, size, low, upper), k & (1 << low) - 1),
    ]


def _popped(stack: BitStack, elements: Elements, i: int, lanes: np.ndarray | slice, count: int) -> np.ndarray:
    function, size = _function(elements, i), int(elements.numbering.size[i])
    low, floored = _low_bits(size, elements.floored), elements.floored
    if not low:
        return _one(stack, function, np.full(count, size), lanes, floored)
    upper = _one(stack, _of_upper(function, size, low), np.full(count, (size - 1 >> low) + 1), lanes, floored)
    shares, sizes = _of_lower(function, size, low, upper)
    return (upper << low) + _one(stack, shares, sizes, lanes, floored)


def _one(stack: BitStack, shares: Shares, size: np.ndarray, lanes: np.ndarray | slice, floored: bool) -> np.ndarray:
    """Pop one symbol: the smallest k with C_k above the part on top, by bisection."""
    if not floored:
        stack.stir(lanes)
    part = stack.peek(lanes).astype(np.int64)
    below, at = np.full(len(part), -1), size - 1
    start, end = np.zeros(len(part), np.int64), np.full(len(part), PARTS)
    while (open_ := at - below > 1).any():
        middle = np.where(open_, (below + at) >> 1, at)
        c = _parts(shares, size, middle, floored)
        inside = part < c
        at, end = np.where(inside, middle, at), np.where(inside, c, end)
        below, start = np.where(inside, below, middle), np.where(inside, start, c)
    stack.pop(start.astype(np.uint64), (end - start).astype(np.uint64), lanes)
    return at


def _parts(shares: Shares, size: np.ndarray | int, k: np.ndarray, floored: bool) -> np.ndarray:
    """C_k, int64; 0 below the first value and 2³⁰ from the last on."""
    f = shares(np.clip(k, 0, size - 1))
    if not np.isfinite(f).all():
        raise StackError("the model gives no finite probability")
    c = np.floor(f * (PARTS - size)).astype(np.int64) + k + 1 if floored else np.floor(f * PARTS).astype(np.int64)
    return np.where(k < 0, 0, np.where(k >= size - 1, PARTS, c))


def _function(elements: Elements, i: int) -> Shares:
    """k ↦ F_k of one element, for the rows that have it."""
    rows = slice(None) if elements.seen is None else elements.seen[i]
    family, numbering = elements.family.at(i, rows), elements.numbering.at(i)
    if isinstance(numbering, LatentCells) and elements.seen is not None:
        raise AssertionError
    return lambda k: np.clip(family.function(numbering.end(k), *family.parameters), 0.0, 1.0)


def _low_bits(size: int, floored: bool) -> int:
    return max(0, (size - 1).bit_length() - 16) if floored and size > 4 * _MOST_AT_ONCE else 0


def _of_upper(function: Shares, size: int, low: int) -> Shares:
    return lambda h: function(np.minimum((h + 1) << low, size) - 1)


def _of_lower(function: Shares, size: int, low: int, upper: np.ndarray) -> tuple[Shares, np.ndarray]:
    """F of the lower bits given the upper ones, and how many values they have."""
    first, sizes = upper << low, np.minimum(1 << low, size - (upper << low))
    below = np.where(first > 0, function(np.maximum(first - 1, 0)), 0.0)
    last = first + sizes - 1
    mass = np.where(last < size - 1, function(last), 1.0) - below

    def shares(k: np.ndarray) -> np.ndarray:
        flat = (k + 1) / sizes
        return np.where(mass > _LEAST_MASS, (function(first + k) - below) / np.maximum(mass, _LEAST_MASS), flat).clip(
            0, 1
        )

    return shares, sizes
