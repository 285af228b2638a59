"""Which symbol may follow in the derivation of a molecule: the mask that `log_prob` and `sample` share.

A row is 0 at its end and after it; 1 is never used; 2 … 1 + R join two open points (`&1` … `&R`); the others are
fragments and atoms, each with the order of the bond before it and those of the points that it opens
(`data.derivations`). What is open is a stack. A symbol may stand where

    the bond before it has the order of the point on top (none at the start),
    what stays open after it can still be filled in the steps that are left, one symbol each,

and `&j` where the point on top and the j-th below it have the same order and are of two single atoms without a bond.
The end may stand, and must, where nothing is open. A leaf of each order is in the alphabet, so that there is always a
symbol that may stand: the probabilities of all derivations sum to one, and each is a molecule within valence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from lowerbound.nets.texts import END

__all__ = ["NUM_BEFORE_RINGS", "Grammar", "OpenPoints", "Situation"]

NUM_BEFORE_RINGS = 2  # the end, and the symbol that is never used
_DONE, _START, _ORDERS = -1, 0, (1, 2, 3)


@dataclass
class Situation:
    """What decides which symbol may follow, of rows (N,).

    Attributes:
        order: of the point on top; 0 at the start, −1 where nothing is open.
        most: how many points the next symbol may open.
        joins: whether each of the next R open points may be joined to it (N, R).
    """

    order: Int[Tensor, "row"]
    most: Int[Tensor, "row"]
    joins: Bool[Tensor, "row ring"]

    def at(self, rows: Int[Tensor, "some"]) -> Situation:
        """Of these rows."""
        return Situation(self.order[rows], self.most[rows], self.joins[rows])


@dataclass
class _State:
    order: Tensor  # (N, S) of each open point, the last of `height` on top
    atom: Tensor  # (N, S) the step at which its atom was written
    is_atom: Tensor  # (N, S) whether that was a single atom
    height: Tensor  # (N,)
    bonded: Tensor  # (N, S, S) whether the atoms of two steps have a bond
    step: int

    def of(self, rows: Int[Tensor, "some"]) -> _State:
        """Of these rows, each of which may be taken several times."""
        parts = (self.order, self.atom, self.is_atom, self.height, self.bonded)
        return _State(*(part[rows] for part in parts), step=self.step)


@runtime_checkable
class Grammar(Protocol):
    """Which symbols may follow, where rows are written one symbol after another."""

    def begin(self, num: int) -> Any:
        """The state of `num` rows in which nothing is written."""
        ...

    def situation(self, state: Any) -> Any:
        """What decides which symbol may follow."""
        ...

    def allowed(self, now: Any) -> Bool[Tensor, "row symbol"]:
        """Which symbols may follow."""
        ...

    def advance(self, state: Any, k: Int[Tensor, "row"]) -> None:
        """Write one symbol in each row, in place."""
        ...


class OpenPoints(nn.Module):
    """The grammar of molecules.

    Arguments:
        points: of each fragment and atom, in words such as "3*a0-1+f1-11" (`data.points`): "a" for an atom, the order
            of the bond before it, and those of the points it opens.
        num_symbols: K, with the end and the symbols of rings.
        length: T, symbols of a row with its end.

    Raises:
        ValueError: words that say no points, more of them than symbols, or an alphabet in which a point may stay open.
    """

    def __init__(self, points: str, num_symbols: int, length: int):
        super().__init__()
        words = _words(points)
        self.num_rings, self.length = num_symbols - NUM_BEFORE_RINGS - len(words), length
        first = NUM_BEFORE_RINGS + max(0, self.num_rings)
        leaves = {parent for _, parent, children in words if not children}
        needed = {0} | {order for _, _, children in words for order in children}
        if self.num_rings < 0 or length < 2 or not needed <= leaves:
            raise ValueError(
                f"tokens got points of {len(words)} symbols, num_symbols={num_symbols} and rows of {length}; expected "
                "fewer points than symbols, rows of 2 or more, and of each order of bond a symbol without further ones."
            )
        self.before: Tensor
        self.opens: Tensor
        self.after: Tensor
        self.is_atom: Tensor
        widest = max(1, *(len(children) for _, _, children in words))
        children = torch.zeros(num_symbols, widest, dtype=torch.long)
        for k, (_, _, orders) in enumerate(words, first):
            children[k, : len(orders)] = torch.tensor(orders, dtype=torch.long)
        unused = [_DONE - 1] * first
        for name, value in (
            ("before", torch.tensor(unused + [parent for _, parent, _ in words])),
            ("opens", (children > 0).sum(1)),
            ("after", children),
            ("is_atom", torch.tensor([False] * first + [kind == "a" for kind, _, _ in words])),
        ):
            self.register_buffer(name, value, persistent=False)

    def begin(self, num: int) -> _State:
        """Nothing written: one point to fill, of no order."""
        size, device = self.length + 1, self.before.device
        zeros = torch.zeros(num, size, dtype=torch.long, device=device)
        return _State(
            order=zeros,
            atom=torch.full_like(zeros, self.length),
            is_atom=zeros.bool(),
            height=torch.ones(num, dtype=torch.long, device=device),
            bonded=torch.zeros(num, size, size, dtype=torch.bool, device=device),
            step=0,
        )

    def situation(self, state: _State) -> Situation:
        """Of rows in this state."""
        top = (state.height - 1).clamp_min(0)[:, None]
        order, atom, is_atom = (part.gather(1, top) for part in (state.order, state.atom, state.is_atom))
        below = state.height[:, None] - 2 - torch.arange(self.num_rings, device=top.device)
        at = below.clamp_min(0)
        others = state.atom.gather(1, at)
        bonds = state.bonded.take_along_dim(atom[..., None], 1)[:, 0].gather(1, others)
        same = (state.order.gather(1, at) == order) & is_atom & state.is_atom.gather(1, at) & (others != atom)
        return Situation(
            order=torch.where(state.height > 0, order[:, 0], _DONE),
            most=self.length - 1 - state.step - state.height,
            joins=(below >= 0) & same & ~bonds,
        )

    def allowed(self, now: Situation) -> Bool[Tensor, "row symbol"]:
        """Which symbols may follow."""
        found = (self.before == now.order[:, None]) & (self.opens <= now.most[:, None])
        found[:, NUM_BEFORE_RINGS : NUM_BEFORE_RINGS + self.num_rings] = now.joins
        found[:, END] = now.order == _DONE
        return found

    def advance(self, state: _State, k: Int[Tensor, "row"]) -> None:
        """Write one symbol in each row, in place; an end changes nothing."""
        going = (k != END) & (state.height > 0)
        joined = torch.where(going & (k < NUM_BEFORE_RINGS + self.num_rings), k - NUM_BEFORE_RINGS + 1, 0)
        joins = joined > 0
        rows = torch.arange(len(k), device=k.device)
        base = (state.height - 1).clamp_min(0)
        at = (base - joined).clamp_min(0)
        here = state.atom[rows, base]
        there = torch.where(joins, state.atom[rows, at], state.step)
        there = torch.where(going, there, here)
        state.bonded[rows, here, there] = state.bonded[rows, there, here] = True
        place = torch.arange(state.order.shape[1], device=k.device)[None]
        source = (place + (joins[:, None] & (place >= at[:, None]))).clamp_max(state.order.shape[1] - 1)
        opens = torch.where(going & ~joins, self.opens[k], 0)
        which = opens[:, None] - 1 - (place - base[:, None])
        new = (place >= base[:, None]) & (which >= 0)
        orders = self.after[k].gather(1, which.clamp(0, self.after.shape[1] - 1))
        state.order = torch.where(new, orders, state.order.gather(1, source))
        state.atom = torch.where(new, state.step, state.atom.gather(1, source))
        state.is_atom = torch.where(new, self.is_atom[k][:, None], state.is_atom.gather(1, source))
        state.height = torch.where(going, (base + opens - joins.long()).clamp(0, state.order.shape[1]), state.height)
        state.step += 1

    @torch.no_grad()
    def along(self, k: Int[Tensor, "row position"]) -> Situation:
        """The situations of all positions of rows (N, t), in the order of `k.flatten()`."""
        state, found = self.begin(len(k)), []
        for t in range(k.shape[1]):
            found.append(self.situation(state))
            self.advance(state, k[:, t])
        return Situation(
            order=torch.stack([now.order for now in found], 1).flatten(),
            most=torch.stack([now.most for now in found], 1).flatten(),
            joins=torch.stack([now.joins for now in found], 1).flatten(0, 1),
        )


def _words(points: str) -> list[tuple[str, int, tuple[int, ...]]]:
    """Kind, order before and orders after, of each symbol.

    Raises:
        ValueError: something else.
    """
    found = []
    for part in points.split("+"):
        count, _, word = part.rpartition("*")
        before, dash, after = word[1:].partition("-")
        whole = (not count or count.isdecimal()) and word[:1] in ("a", "f") and dash and before.isdecimal()
        if not whole or int(before) not in (_START, *_ORDERS) or not set(after) <= set("123"):
            raise ValueError(f"tokens got points={part[:40]!r}; expected words such as 3*a0-1+f1-11.")
        found += [(word[0], int(before), tuple(map(int, after)))] * int(count or 1)
    return found
