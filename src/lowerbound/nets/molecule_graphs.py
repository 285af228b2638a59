"""From rows of symbols to the graphs of the atoms that they describe, for many molecules at once and without RDKit.

A row is written onto a stack of open points (`likelihoods.open_points`): each symbol fills the point on top with the
bond of that point, and `&j` joins the two points. The atoms and bonds of a symbol are in tables. A bond between symbols
is in a ring if a pair of points is joined around it: with A(s) the symbols on the way from symbol s to the root, that
is where A(a) and A(b) of a pair that is joined differ.

What a row says beyond its end is not read. Of a row that is no molecule what can be joined is joined. Graphs are made
on the host, of what it knows of the rows (`lowerbound.on_host`), because how many atoms there are is a shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn

from lowerbound.nets.fragment_tables import FragmentTables
from lowerbound.nets.texts import END, lengths_of, symbols_on_host
from lowerbound.on_host import to_device

__all__ = ["MoleculeGraphs", "RowsToGraphs"]

_BEFORE_RINGS = 2  # the end, and the symbol that is never used


@dataclass
class MoleculeGraphs:
    """The atoms of B molecules, one after another.

    Attributes:
        atoms: numbers of each atom (A, 5), see `fragment_tables.ATOM_SIZES`.
        molecule: to which row each atom belongs (A,).
        ends: the two atoms of each bond (E, 2).
        bonds: order, and whether it is in a ring (E, 2).
        num_molecules: B; some may have no atom.
    """

    atoms: Int[Tensor, "atom 5"]
    molecule: Int[Tensor, "atom"]
    ends: Int[Tensor, "bond 2"]
    bonds: Int[Tensor, "bond 2"]
    num_molecules: int


@dataclass
class _Joined:
    """The bonds between symbols, at most one for each step (N, T)."""

    there: Bool[np.ndarray, "row step"]  # whether this step makes one
    steps: Int[np.ndarray, "row step 2"]  # the steps of both symbols
    atoms: Int[np.ndarray, "row step 2"]  # their atoms, counted within the symbols
    order: Int[np.ndarray, "row step"]
    in_ring: Bool[np.ndarray, "row step"]


class RowsToGraphs(nn.Module):
    """Rows (N, T) of K symbols to `MoleculeGraphs`.

    Arguments:
        fragments: the words of the symbols that are fragments (`data.fragment_graphs`).
        num_symbols: K; those before the fragments are the end, one that is never used, and `&1`, `&2`, …

    Raises:
        ValueError: words that say no fragments, or more of them than symbols.
    """

    def __init__(self, fragments: str, num_symbols: int):
        super().__init__()
        tables = FragmentTables.read(fragments)
        self.first, self.num_symbols = num_symbols - len(tables.before), num_symbols
        if self.first < _BEFORE_RINGS:
            raise ValueError(
                f"Graphs of molecules got {len(tables.before)} fragments and num_symbols={num_symbols}; expected at "
                f"least {_BEFORE_RINGS} symbols more than fragments."
            )
        self.points = tables.after.shape[1]
        self._tables: dict[str, np.ndarray] = vars(tables)

    def forward(self, x: Shaped[Tensor, "row position"]) -> MoleculeGraphs:
        """The graph of each row, on the device of the rows."""
        k = symbols_on_host(x).clip(0, self.num_symbols - 1)
        lengths = lengths_of(k) - (k == END).any(1)
        k = k[:, : max(1, int(lengths.max(initial=0)))]
        real = np.arange(k.shape[1]) < lengths[:, None]
        written = real & (k >= self.first)
        joined = self._joined(k, real, written)
        row, step = written.nonzero()
        f = k[row, step] - self.first
        start, count = self._tables["atom_start"][f], np.diff(self._tables["atom_start"])[f]
        base = count.cumsum() - count  # the number of the first atom of each symbol
        which, place = _ragged(count)
        which_bond, bond_place = _ragged(np.diff(self._tables["bond_start"])[f])
        inside = self._tables["bond_start"][f][which_bond] + bond_place
        first_of = np.zeros_like(k)
        first_of[written] = base
        at = joined.there.nonzero()
        between = first_of[at[0][:, None], joined.steps[at]] + joined.atoms[at]
        added = np.stack([joined.order[at], joined.in_ring[at]], 1)
        return MoleculeGraphs(
            atoms=to_device(self._tables["atoms"][start[which] + place], x.device),
            molecule=to_device(row[which], x.device),
            ends=to_device(
                np.concatenate([self._tables["ends"][inside] + base[which_bond][:, None], between]), x.device
            ),
            bonds=to_device(np.concatenate([self._tables["bonds"][inside], added]), x.device),
            num_molecules=len(k),
        )

    def _joined(self, k: np.ndarray, real: np.ndarray, written: np.ndarray) -> _Joined:
        """Write all rows at once, one step after another."""
        rows, length = k.shape
        f = (k - self.first).clip(0)
        opens = (self._tables["after"][..., 1] > 0).sum(1)[f] * written
        before, after = self._tables["before"][f], self._tables["after"][f]
        stack = np.zeros((rows, 1 + int(opens.sum(1).max(initial=0))), np.int64)  # step · C + point
        height, zero = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        n, place = np.arange(rows), np.arange(stack.shape[1])[None]
        above = np.tile(np.eye(length, dtype=bool), (rows, 1, 1))  # A(s), with s itself
        in_ring = np.zeros_like(real)
        steps, atoms, order, there = [], [], [], []
        for t in range(length):
            filled = real[:, t] & (height > 0)
            top = (height - 1).clip(0)
            one = np.where(filled, stack[n, top], zero)
            below = top - (k[:, t] - _BEFORE_RINGS + 1)
            rings = filled & ~written[:, t] & (k[:, t] >= _BEFORE_RINGS) & (below >= 0)
            other = stack[n, below.clip(0, stack.shape[1] - 1)]
            a, point = one // self.points, one % self.points
            b, other_point = other // self.points, other % self.points
            grown = filled & written[:, t] & (before[:, t, 1] > 0)
            above[:, t] |= above[n, a] & grown[:, None]
            in_ring |= (above[n, a] ^ above[n, b]) & rings[:, None]
            there.append(grown | rings)
            steps.append(np.stack([a, np.where(rings, b, zero + t)], 1))
            end = np.where(rings, after[n, b, other_point, 0], before[:, t, 0])
            atoms.append(np.stack([after[n, a, point, 0], end], 1))
            order.append(after[n, a, point, 1])
            # the point on top is filled, that which it was joined to is taken out, and those of this symbol are opened
            source = place + (rings[:, None] & (place >= below[:, None]))
            stack = np.take_along_axis(stack, source.clip(max=place.shape[1] - 1), 1)
            height = height - filled - rings
            new = height[:, None] + opens[:, t, None] - 1 - place
            is_new = (place >= height[:, None]) & (new >= 0)
            stack = np.where(is_new, t * self.points + new, stack)
            height = height + opens[:, t]
        joined = np.stack(there, 1)
        return _Joined(
            there=joined,
            steps=np.stack(steps, 1),
            atoms=np.stack(atoms, 1),
            order=np.stack(order, 1),
            in_ring=np.where(written, in_ring, joined),  # a bond that closes a ring is in one
        )


def _ragged(count: Int[np.ndarray, "group"]) -> tuple[Int[np.ndarray, "all"], Int[np.ndarray, "all"]]:
    """Of groups of these sizes, one after another: the group of each member, and its place in the group."""
    group = np.repeat(np.arange(len(count)), count)
    return group, np.arange(len(group)) - (count.cumsum() - count)[group]
