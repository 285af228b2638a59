"""Symbols on a stack: from the distribution functions of some elements to the parts of 2³⁰ that each value takes.

    C_k = ⌊F_k (2³⁰ − K)⌋ + k + 1        for what any value may be pushed under: each has at least one part
    C_k = ⌊F_k 2³⁰⌋                       for what is first popped: values without a part never come

A value k takes the parts C_{k−1}, …, C_k − 1; C_{K−1} is 2³⁰. Where K is above 2¹⁸ the upper bits of k are coded first
and the lower ones given these, so that the parts given to every value take no more than 2⁻¹⁶ of the probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from lowerbound.coding.families import Family
from lowerbound.coding.numbering import LatentCells, Steps
from lowerbound.coding.stack import PARTS, BitStack, StackError

__all__ = ["Elements", "pop", "push"]

_MOST_AT_ONCE = 1 << 16
_NUMBERS_AT_ONCE = 1 << 18
_LEAST_MASS = 1e-12
_FEW, _PLACES_IN_FEW, _PLACES = 256, 15, 3

Shares: TypeAlias = Callable[[np.ndarray], np.ndarray]
Lanes: TypeAlias = np.ndarray | slice


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

    def part(self, block: slice, lanes: Lanes = slice(None)) -> Elements:
        """Some of the elements in some rows, all of which are there."""
        return Elements(self.family.part(block, lanes), self.numbering.at(block).in_rows(lanes), self.floored)

    def lanes(self, i: int, rows: int) -> Lanes | None:
        """The rows that have an element; None if there is none."""
        if self.seen is None:
            return slice(0, rows)
        found = np.flatnonzero(self.seen[i])
        return found if len(found) else None


class _Symbols(NamedTuple):
    """The numbers of the values of m elements in some rows, or the upper or the lower bits of these numbers.

    Attributes:
        shares: k (…, m, rows) ↦ F_k.
        size: how many there are (m, 1) or (m, rows).
        floored: whether each has at least one part.
    """

    shares: Shares
    size: np.ndarray
    floored: bool

    def ends(self, k: np.ndarray) -> np.ndarray:
        """C_k (…, m, rows), int64; 0 below the first value and 2³⁰ from the last on."""
        last = self.size - 1
        c = self.inner_ends(np.minimum(np.maximum(k, 0), last))
        np.copyto(c, PARTS, where=k >= last)
        np.copyto(c, 0, where=k < 0)
        return c

    def inner_ends(self, k: np.ndarray) -> np.ndarray:
        """The same of k from the first value to the last but one, in fewer operations."""
        f = self.shares(k)
        if np.isnan(f).any():
            raise StackError("the model gives no finite probability")
        c = (f * (PARTS - self.size if self.floored else PARTS)).astype(np.int64)  # rounds down: f is not below 0
        if self.floored:
            c += k + 1
        return c

    def first_ends(self) -> np.ndarray:
        """C_k where a search begins (places, m, rows)."""
        below, at = np.full_like(self.size, -1), self.size - 1
        return self.ends(_between(below, at, max(1, min(self.places, int(self.size.max()) - 1))))

    @property
    def places(self) -> int:
        """At how many places an interval is looked at if so many are in it."""
        return _PLACES_IN_FEW if int(self.size.max()) <= _FEW else _PLACES


def push(stack: BitStack, elements: Elements, k: np.ndarray) -> None:
    """Push the values numbered k (n, rows), the last element first."""
    for block, low in reversed(_blocks(elements)):
        whole = _whole(elements.part(block))
        coded = [(symbols.ends(part - 1), symbols.ends(part)) for symbols, part in _split(whole, low, k[block])]
        for i in reversed(range(len(k[block]))):
            lanes = elements.lanes(block.start + i, k.shape[1])
            if lanes is None:
                continue
            for start, end in reversed(coded):
                first, after = start[i, lanes], end[i, lanes]
                if (after <= first).any():
                    raise StackError("a value has no part")
                stack.push(first.astype(np.uint64), (after - first).astype(np.uint64), lanes)
                if not elements.floored:
                    stack.stir(lanes)


def pop(stack: BitStack, elements: Elements, rows: int) -> np.ndarray:
    """Pop the numbers (n, rows), the first element first; 0 where there is no element."""
    k = np.zeros((len(elements.numbering.size), rows), np.int64)
    for block, low in _blocks(elements):
        symbols = _upper(_whole(elements.part(block)), low)
        ends = symbols.first_ends()
        for i in range(len(k[block])):
            lanes = elements.lanes(block.start + i, rows)
            if lanes is not None:
                one = elements.part(slice(block.start + i, block.start + i + 1), lanes)
                k[block.start + i, lanes] = _popped(stack, lanes, one, low, ends[:, i, lanes])
    return k


def _popped(stack: BitStack, lanes: Lanes, one: Elements, low: int, ends: np.ndarray) -> np.ndarray:
    """Pop the numbers of one element, of which C_k is known at the first places."""
    upper = _found(stack, lanes, _upper(_whole(one), low), ends)
    if not low:
        return upper
    lower = _lower(_whole(one), low, upper[None])
    return (upper << low) + _found(stack, lanes, lower, lower.first_ends()[:, 0])


def _found(stack: BitStack, lanes: Lanes, symbols: _Symbols, ends: np.ndarray) -> np.ndarray:
    """Pop a symbol of one element: the smallest k with C_k above the part on top."""
    if not symbols.floored:
        stack.stir(lanes)
    part = stack.peek(lanes).astype(np.int64)
    rows, size = len(part), symbols.size[0]
    every, few = np.arange(rows), symbols.places
    below, width = np.full(rows, -1), size
    start, end = np.zeros((1, rows), np.int64), np.full((1, rows), PARTS)
    while True:
        count = len(ends)
        limits = np.concatenate([start, ends, end])
        upto = np.add.reduce(ends <= part, 0)
        at = upto * rows + every
        start, end = limits.take(at)[None], limits.take(at + rows)[None]
        first = width * upto // (count + 1)
        below, width = below + first, width * (upto + 1) // (count + 1) - first
        widest = int(np.maximum.reduce(width))
        if widest <= 1:
            break
        places = min(few, widest - 1)
        ends_at = symbols.inner_ends if int(np.minimum.reduce(width)) > places else symbols.ends
        ends = ends_at(_between(below, below + width, places)[:, None])[:, 0]
    stack.pop(start[0].astype(np.uint64), (end - start)[0].astype(np.uint64), lanes)
    return below + width


def _between(below: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    """So many places between two (count, …), some of which may be the first of them where they are near."""
    steps = np.arange(1, count + 1).reshape(-1, *(1 for _ in below.shape))
    return below + (at - below) * steps // (count + 1)


def _blocks(elements: Elements) -> list[tuple[slice, int]]:
    """Elements that are treated at once, and how many lower bits of theirs are coded apart."""
    parameters = elements.family.parameters
    most = max(1, _NUMBERS_AT_ONCE // (_PLACES_IN_FEW * max(1, *(math.prod(p.shape[1:]) for p in parameters))))
    lows = [_low_bits(size, elements.floored) for size in elements.numbering.size.tolist()]
    found, start = list[tuple[slice, int]](), 0
    for i in range(1, len(lows) + 1):
        if i == len(lows) or lows[i] != lows[start] or i - start == most:
            found.append((slice(start, i), lows[start]))
            start = i
    return found


def _low_bits(size: int, floored: bool) -> int:
    return max(0, (size - 1).bit_length() - 16) if floored and size > 4 * _MOST_AT_ONCE else 0


def _whole(elements: Elements) -> _Symbols:
    """The numbers of elements that are all there."""
    family, numbering = elements.family, elements.numbering

    def shares(k: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(family.function(numbering.end(k), *family.parameters), 0.0), 1.0)

    return _Symbols(shares, numbering.size[:, None], elements.floored)


def _split(whole: _Symbols, low: int, k: np.ndarray) -> list[tuple[_Symbols, np.ndarray]]:
    """Numbers, or their upper and their lower bits, in the order in which they are popped."""
    if not low:
        return [(whole, k)]
    return [(_upper(whole, low), k >> low), (_lower(whole, low, k >> low), k & (1 << low) - 1)]


def _upper(whole: _Symbols, low: int) -> _Symbols:
    if not low:
        return whole
    return _Symbols(
        lambda h: whole.shares(np.minimum((h + 1) << low, whole.size) - 1), (whole.size - 1 >> low) + 1, whole.floored
    )


def _lower(whole: _Symbols, low: int, upper: np.ndarray) -> _Symbols:
    """The lower bits given the upper ones (m, rows)."""
    first, sizes = upper << low, np.minimum(1 << low, whole.size - (upper << low))
    below = np.where(first > 0, whole.shares(np.maximum(first - 1, 0)), 0.0)
    last = first + sizes - 1
    mass = np.where(last < whole.size - 1, whole.shares(last), 1.0) - below

    def shares(k: np.ndarray) -> np.ndarray:
        share = (whole.shares(first + k) - below) / np.maximum(mass, _LEAST_MASS)
        return np.minimum(np.maximum(np.where(mass > _LEAST_MASS, share, (k + 1) / sizes), 0.0), 1.0)

    return _Symbols(shares, sizes, whole.floored)
