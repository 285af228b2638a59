"""Which symbol may follow in the derivation of a molecule: the mask that `log_prob` and `sample` share.

A row is 0 at its end and after it; 1 is never used; 2 … 1 + R join two open points (`&1` … `&R`); the others are
fragments and atoms, each with the order of the bond before it and those of the points that it opens
(`data.derivations`). What is open is a stack. A symbol may stand where

    the bond before it has the order of the point on top (none at the start),
    what stays open after it can still be filled in the steps that are left, one symbol each,

and `&j` where the point on top and the j-th below it have the same order and are of two atoms without a bond, of
different symbols. Of a symbol of several atoms this takes that the words of the points say at which atom each is.
The end may stand, and must, where nothing is open. A leaf of each order is in the alphabet, so that there is always a
symbol that may stand: the probabilities of all derivations sum to one, and each is a molecule within valence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from lowerbound.nets.texts import END
from lowerbound.on_host import has_memory

__all__ = ["NUM_BEFORE_RINGS", "Grammar", "OpenPoints", "Situation"]

NUM_BEFORE_RINGS = 2  # the end, and the symbol that is never used
_DONE = -1
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = re.compile(
    r"((?P<count>\d+)\*)?((?P<kind>[af])(?P<before>[0-3])-(?P<after>[1-3]*)|r(?P<b>[0-3][a-z]?)-(?P<a>([1-3][a-z])*))"
)
_POINT = re.compile(r"(\d)([a-z]?)")


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
    atom: Tensor  # (N, S) its atom: the step at which it was written times A, and its number in the symbol
    joinable: Tensor  # (N, S) whether its atom is known
    height: Tensor  # (N,)
    bonds: Tensor  # (N, S, 2) the two atoms of the bond that each step has made
    step: int

    def of(self, rows: Int[Tensor, "some"]) -> _State:
        """Of these rows, each of which may be taken several times."""
        parts = (self.order, self.atom, self.joinable, self.height, self.bonds)
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
        points: of each fragment and atom, in words such as "3*a0-1+f1-11+r1a-1a1b" (`data.points`): "a" for an atom,
            "f" or "r" for a fragment, the order of the bond before it, and those of the points it opens; after "r"
            each with the atom of its point.
        num_symbols: K, with the end and the symbols of rings.
        length: T, symbols of a row with its end.

    Raises:
        ValueError: words that say no points, more of them than symbols, or an alphabet in which a point may stay open.
    """

    def __init__(self, points: str, num_symbols: int, length: int):
        super().__init__()
        words = _words(points)
        self.num_rings, self.length = num_symbols - NUM_BEFORE_RINGS - len(words), length
        self._last: tuple[np.ndarray, Situation] | None = None
        first = NUM_BEFORE_RINGS + max(0, self.num_rings)
        leaves = {word.before for word in words if not word.after}
        needed = {0} | {order for word in words for order in word.after}
        if self.num_rings < 0 or length < 2 or not needed <= leaves:
            raise ValueError(
                f"tokens got points of {len(words)} symbols, num_symbols={num_symbols} and rows of {length}; expected "
                "fewer points than symbols, rows of 2 or more, and of each order of bond a symbol without further ones."
            )
        self.before: Tensor
        self.opens: Tensor
        self.after: Tensor
        self.atom_before: Tensor
        self.atom_after: Tensor
        self.joinable: Tensor
        widest = max(1, *(len(word.after) for word in words))
        after, atoms = torch.zeros(2, num_symbols, widest, dtype=torch.long)
        for k, word in enumerate(words, first):
            after[k, : len(word.after)] = torch.tensor(word.after, dtype=torch.long)
            atoms[k, : len(word.after)] = torch.tensor(word.atoms_after, dtype=torch.long)
        unused = [_DONE - 1] * first
        of_parents = torch.tensor([0] * first + [word.atom_before for word in words])
        self.num_atoms = 1 + max(int(atoms.max()), int(of_parents.max()))  # A
        for name, value in (
            ("before", torch.tensor(unused + [word.before for word in words])),
            ("opens", (after > 0).sum(1)),
            ("after", after),
            ("atom_before", of_parents),
            ("atom_after", atoms),
            ("joinable", torch.tensor([False] * first + [word.kind != "f" for word in words])),
        ):
            self.register_buffer(name, value, persistent=False)

    def begin(self, num: int) -> _State:
        """Nothing written: one point to fill, of no order."""
        size, device = self.length + 1, self.before.device
        zeros = torch.zeros(num, size, dtype=torch.long, device=device)
        return _State(
            order=zeros,
            atom=torch.full_like(zeros, self.length * self.num_atoms),
            joinable=zeros.bool(),
            height=torch.ones(num, dtype=torch.long, device=device),
            bonds=torch.full((num, size, 2), -1, dtype=torch.long, device=device),
            step=0,
        )

    def situation(self, state: _State) -> Situation:
        """Of rows in this state."""
        top = (state.height - 1).clamp_min(0)[:, None]
        order, atom, joinable = (part.gather(1, top) for part in (state.order, state.atom, state.joinable))
        below = state.height[:, None] - 2 - torch.arange(self.num_rings, device=top.device)
        at = below.clamp_min(0)
        others = state.atom.gather(1, at)
        one, other = state.bonds[:, : state.step].unbind(2)
        partner = torch.where(one == atom, other, torch.where(other == atom, one, -1))
        bonds = (partner[:, None] == others[..., None]).any(2)
        apart = others // self.num_atoms != atom // self.num_atoms
        same = (state.order.gather(1, at) == order) & joinable & state.joinable.gather(1, at) & apart
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
        first = state.step * self.num_atoms
        there = torch.where(joins, state.atom[rows, at], first + self.atom_before[k])
        state.bonds[:, state.step] = torch.where(going[:, None], torch.stack([here, there], 1), -1)
        place = torch.arange(state.order.shape[1], device=k.device)[None]
        source = (place + (joins[:, None] & (place >= at[:, None]))).clamp_max(state.order.shape[1] - 1)
        opens = torch.where(going & ~joins, self.opens[k], 0)
        which = opens[:, None] - 1 - (place - base[:, None])
        new = (place >= base[:, None]) & (which >= 0)
        which = which.clamp(0, self.after.shape[1] - 1)
        orders, atoms = self.after[k].gather(1, which), first + self.atom_after[k].gather(1, which)
        state.order = torch.where(new, orders, state.order.gather(1, source))
        state.atom = torch.where(new, atoms, state.atom.gather(1, source))
        state.joinable = torch.where(new, self.joinable[k][:, None], state.joinable.gather(1, source))
        state.height = torch.where(going, (base + opens - joins.long()).clamp(0, state.order.shape[1]), state.height)
        state.step += 1

    @torch.no_grad()
    def along(self, k: Int[Tensor, "row position"], symbols: Int[np.ndarray, "row position"]) -> Situation:
        """The situations of all positions of rows (N, t), which lie on the host too, in the order of `k.flatten()`.

        They depend on the rows alone. Those of the last rows are kept, for whoever asks about one batch at many z;
        not those that `torch.func` wraps, which end with the function that it differentiates.
        """
        device = self.before.device
        if self._last is None or self._last[1].order.device != device or not np.array_equal(self._last[0], symbols):
            found = self._walked(k)
            if not has_memory(found.order):
                return found
            self._last = symbols.copy(), found
        return self._last[1]

    def _walked(self, k: Int[Tensor, "row position"]) -> Situation:
        state, found = self.begin(len(k)), []
        for t in range(k.shape[1]):
            found.append(self.situation(state))
            self.advance(state, k[:, t])
        return Situation(
            order=torch.stack([now.order for now in found], 1).flatten(),
            most=torch.stack([now.most for now in found], 1).flatten(),
            joins=torch.stack([now.joins for now in found], 1).flatten(0, 1),
        )


@dataclass(frozen=True)
class _Word:
    kind: str
    before: int
    atom_before: int
    after: tuple[int, ...]
    atoms_after: tuple[int, ...]


def _words(points: str) -> list[_Word]:
    """What each word says.

    Raises:
        ValueError: something else.
    """
    found = []
    for part in points.split("+"):
        whole = _WORD.fullmatch(part)
        if whole is None:
            raise ValueError(f"tokens got points={part[:40]!r}; expected words such as 3*a0-1+f1-11.")
        kind, before, after = whole["kind"] or "r", whole["before"] or whole["b"], whole["after"] or whole["a"] or ""
        orders, atoms = zip(*_POINT.findall(before + after), strict=True)
        numbers = [_LETTERS.index(atom) if atom else 0 for atom in atoms]
        word = _Word(kind, int(orders[0]), numbers[0], tuple(map(int, orders[1:])), tuple(numbers[1:]))
        found += [word] * int(whole["count"] or 1)
    return found
