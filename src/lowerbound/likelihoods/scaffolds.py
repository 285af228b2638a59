"""The grammar of molecules (`open_points`), in which some open points wait for the parts of a scaffold.

A scaffold is a tree of places, the root first. A place is filled by any symbol that holds its part and has a point for
each place that hangs on it; these points wait for those places, and no other symbol may fill them. Every other point of
such a symbol begins a branch, and points are joined to rings within one branch alone: a ring through the scaffold could
make its bonds aromatic, and it would not be found again. A symbol may open no more points than the steps that are left
can fill, and a point that waits for a place counts as many steps as what hangs on it takes at least. So every row that
is written holds the scaffold, and one can always be written if the root can.

Draws have the probabilities of the model among the symbols that may stand at each step. That is no draw from
p(x | x holds the scaffold): what comes later does not weigh on what came before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lowerbound.likelihoods.open_points import NUM_BEFORE_RINGS, OpenPoints, Situation

__all__ = ["Place", "Scaffold", "ScaffoldGrammar"]

_FREE = -1


@dataclass(frozen=True)
class Place:
    """A part of a scaffold.

    Attributes:
        ways: by the number of each symbol that holds it, what each point of the symbol waits for: the number of a
            place, or −1 for nothing. One tuple for each way in which the part lies in the symbol.
        room: the fewest symbols that write it and what hangs on it.
    """

    ways: dict[int, tuple[tuple[int, ...], ...]]
    room: int


@dataclass(frozen=True)
class Scaffold:
    """The places, those that hang on one after it; the first is the root."""

    places: tuple[Place, ...]

    @property
    def room(self) -> int:
        """The fewest symbols of a molecule that holds it."""
        return self.places[0].room

    def beyond(self, number: int) -> int:
        """How many more steps than as many free points those take that wait for what hangs on a place."""
        some_way = next(iter(self.places[number].ways.values()))[0]
        return sum(self.places[one].room - 1 for one in some_way if one >= 0)


@dataclass
class _State:
    points: Any  # the state of the grammar
    waits: list[list[int]]  # of each row and open point, the last on top: a place, or the negative number of a branch
    branches: list[int]  # how many each row has

    def of(self, rows: Int[Tensor, "some"]) -> _State:
        """Of these rows, each of which may be taken several times."""
        chosen = rows.tolist()
        return _State(self.points.of(rows), [list(self.waits[i]) for i in chosen], [self.branches[i] for i in chosen])


@dataclass
class _Waiting(Situation):
    place: Int[Tensor, "row"]


class ScaffoldGrammar:
    """A grammar of which every row holds a scaffold; it stands in the place of `OpenPoints` where rows are drawn.

    Arguments:
        grammar: of the model.
        scaffold: what every row holds.

    Raises:
        ValueError: a row has no room for it.
    """

    def __init__(self, grammar: OpenPoints, scaffold: Scaffold):
        if scaffold.room > grammar.length - 1:
            raise ValueError(
                f"The scaffold takes at least {scaffold.room} symbols, and a row of the model has "
                f"{grammar.length - 1}; give a smaller one, or fit with a larger longest=."
            )
        self.grammar, self.places = grammar, scaffold.places
        self.beyond = [scaffold.beyond(number) for number in range(len(scaffold.places))]
        self.opens: list[int] = grammar.opens.tolist()
        fits = torch.zeros(len(scaffold.places) + 1, len(grammar.before), dtype=torch.bool)
        fits[_FREE] = True
        for number, place in enumerate(scaffold.places):
            fits[number, list(place.ways)] = True
        self.fits = fits.to(grammar.before.device)

    def begin(self, num: int) -> _State:
        """Nothing written: one point, which waits for the root."""
        return _State(self.grammar.begin(num), [[0] for _ in range(num)], [0] * num)

    def situation(self, state: _State) -> _Waiting:
        """Of rows in this state."""
        now = self.grammar.situation(state.points)
        place, kept, same = [], [], []
        for waits in state.waits:
            top, below = (waits[-1], waits[-2::-1]) if waits else (_FREE, [])
            place.append(max(top, _FREE))
            kept.append(
                sum(self.places[one].room - 1 for one in below if one >= 0) + (self.beyond[top] if top >= 0 else 0)
            )
            joined = [one == top for one in below[: self.grammar.num_rings]]
            same.append(joined + [False] * (self.grammar.num_rings - len(joined)))
        most = now.most - torch.tensor(kept).to(now.most)
        return _Waiting(
            now.order, most, now.joins & torch.tensor(same).to(now.joins), torch.tensor(place).to(now.order)
        )

    def allowed(self, now: _Waiting) -> Bool[Tensor, "row symbol"]:
        """Which symbols may follow."""
        return self.grammar.allowed(now) & self.fits[now.place]

    def advance(self, state: _State, k: Int[Tensor, "row"]) -> None:
        """Write one symbol in each row, in place; of several ways in which a part lies in it one is drawn."""
        self.grammar.advance(state.points, k)
        for row, (waits, symbol) in enumerate(zip(state.waits, k.tolist(), strict=True)):
            if not waits or symbol < NUM_BEFORE_RINGS:
                continue
            top = waits.pop()
            if symbol < NUM_BEFORE_RINGS + self.grammar.num_rings:
                del waits[-(symbol - NUM_BEFORE_RINGS + 1)]
            elif top < 0:
                waits.extend([top] * self.opens[symbol])
            else:
                ways = self.places[top].ways[symbol]
                for one in reversed(ways[int(torch.randint(len(ways), ()))]):
                    state.branches[row] += one < 0
                    waits.append(one if one >= 0 else -state.branches[row])
