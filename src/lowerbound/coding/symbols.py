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
        if np.isnan(np.maximum.reduce(f, None)):
            raise StackError("the model gives no finite probability")
        if not self.floored:
            return (f * PARTS).astype(np.int64)  # rounds down: f is not below 0
        size = self.size if self.size.size > 1 else self.size.item()
        c = (f * (PARTS - size)).astype(np.int64)
        c += k + 1
        return c

    def first_places(self) -> np.ndarray:
        """Where a search begins: −1, the first value, some between, the last but one and the last (m, places, rows).

        A value that has nearly all of the probability is often the first or the last; it is then found at once.
        """
        last = self.size - 1
        few = min(self.places, int(self.size.max()) - 1)
        inner = _between(np.full_like(last, -1), last, max(1, few))
        if few == self.places:
            inner = np.concatenate([0 * last[None], inner, last[None] - 1])
        inner = np.minimum(np.maximum(inner, 0), np.maximum(last - 1, 0))
        return np.concatenate([np.full_like(last, -1)[None], inner, last[None]]).swapaxes(0, 1)

    def limits(self, places: np.ndarray) -> np.ndarray:
        """C_k at places (m, places, rows)."""
        found = self.ends(places.swapaxes(0, 1))
        return np.ascontiguousarray(found.swapaxes(0, 1))

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
        places = symbols.first_places()
        limits = symbols.limits(places)
        for i in range(len(k[block])):
            lanes = elements.lanes(block.start + i, rows)
            if lanes is not None:
                one = elements.part(slice(block.start + i, block.start + i + 1), lanes)
                at = places[i] if places.shape[2] == 1 else places[i][:, lanes]
                k[block.start + i, lanes] = _popped(stack, lanes, one, low, at, limits[i][:, lanes])
    return k


def _popped(
    stack: BitStack, lanes: Lanes, one: Elements, low: int, places: np.ndarray, limits: np.ndarray
) -> np.ndarray:
    """Pop the numbers of one element, of which C_k is known at the first places (places, rows)."""
    every = slice(0, 1)
    upper = _found(stack, lanes, lambda on: _upper(_whole(one.part(every, on)), low), places, limits, one.floored)
    if not low:
        return upper

    def lower_at(on: Lanes) -> _Symbols:
        return _lower(_whole(one.part(every, on)), low, upper[None, on])

    lower = lower_at(slice(None))
    first = lower.first_places()
    return (upper << low) + _found(stack, lanes, lower_at, first[0], lower.limits(first)[0], lower.floored)


def _found(
    stack: BitStack,
    lanes: Lanes,
    symbols_at: Callable[[Lanes], _Symbols],
    places: np.ndarray,
    limits: np.ndarray,
    floored: bool,
) -> np.ndarray:
    """Pop a symbol of one element: the smallest k with C_k above the part on top."""
    if not floored:
        stack.stir(lanes)
    part = stack.peek(lanes).astype(np.int64)
    rows = len(part)
    upto = np.add.reduce(limits[1:-1] <= part, 0, dtype=np.uint8).astype(np.int64)
    at = upto * rows + np.arange(rows)
    start, end = limits.take(at), limits.take(at + rows)
    one_place, of_place = places.shape[1] == 1, upto if places.shape[1] == 1 else at
    below, k = places.take(of_place), places.take(of_place + (1 if one_place else rows))
    undecided = np.flatnonzero(k - below > 1)
    if len(undecided):
        on = undecided if 2 * len(undecided) < rows else slice(None)
        inside = _Inside(part[on], start[on], end[on], below[on], (k - below)[on])
        start[on], end[on], k[on] = _searched(symbols_at(on), inside)
    stack.pop(start.astype(np.uint64), (end - start).astype(np.uint64), lanes)
    return k


class _Inside(NamedTuple):
    """Parts (rows,), and that they are in the interval from start to end of the values below + 1, …, below + width."""

    part: np.ndarray
    start: np.ndarray
    end: np.ndarray
    below: np.ndarray
    width: np.ndarray


def _searched(symbols: _Symbols, inside: _Inside) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """C_{k−1}, C_k and k of the value k whose parts are these."""
    part, start, end, below, width = inside
    rows, few = len(part), symbols.places
    every = np.arange(rows)
    while (widest := int(np.maximum.reduce(width))) > 1:
        count = min(few, widest - 1)
        ends_at = symbols.inner_ends if int(np.minimum.reduce(width)) > count else symbols.ends
        ends = ends_at(_between(below, below + width, count)[:, None])[:, 0]
        upto = np.add.reduce(ends <= part, 0, dtype=np.uint8).astype(np.int64)
        limits, at = np.concatenate([start[None], ends, end[None]]), upto * rows + every
        start, end = limits.take(at), limits.take(at + rows)
        first = width * upto // (count + 1)
        below, width = below + first, width * (upto + 1) // (count + 1) - first
    return start, end, below + width


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
        return family.function(numbering.end(k), *family.parameters).clip(0.0, 1.0)

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
