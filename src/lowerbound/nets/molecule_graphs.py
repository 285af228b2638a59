"""From rows of symbols to the graphs of the atoms that they describe, for many molecules at once and without RDKit.

A row is written onto a stack of open points (`likelihoods.open_points`): each symbol fills the point on top with the
bond of that point, and `&j` joins the two points. The atoms and bonds of a symbol are in tables. A bond between symbols
is in a ring if a pair of points is joined around it: with A(s) the symbols on the way from symbol s to the root, that
is where A(a) and A(b) of a pair that is joined differ.

What a row says beyond its end is not read. Of a row that is no molecule what can be joined is joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn

from lowerbound.nets.fragment_tables import FragmentTables
from lowerbound.nets.texts import END, is_text

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

    there: Bool[Tensor, "row step"]  # whether this step makes one
    steps: Int[Tensor, "row step 2"]  # the steps of both symbols
    atoms: Int[Tensor, "row step 2"]  # their atoms, counted within the symbols
    order: Int[Tensor, "row step"]
    in_ring: Bool[Tensor, "row step"]


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
        for name, value in vars(tables).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Shaped[Tensor, "row position"]) -> MoleculeGraphs:
        """The graph of each row."""
        k = x.long().clamp(0, self.num_symbols - 1)
        real = is_text(k) & (k != END)
        k = k[:, : max(1, int(real.sum(1).max()))] if len(k) else k[:, :1]
        real = real[:, : k.shape[1]]
        written = real & (k >= self.first)
        joined = self._joined(k, real, written)
        row, step = written.nonzero(as_tuple=True)
        f = k[row, step] - self.first
        start, count = self._table("atom_start")[f], self._table("atom_start").diff()[f]
        base = count.cumsum(0) - count  # the number of the first atom of each symbol
        which, place = _ragged(count)
        atoms = self._table("atoms")[start[which] + place]
        bond_count = self._table("bond_start").diff()[f]
        which_bond, bond_place = _ragged(bond_count)
        inside = self._table("bond_start")[f][which_bond] + bond_place
        first_of = torch.zeros_like(k).masked_scatter(written, base)
        at = joined.there.nonzero(as_tuple=True)
        between = first_of[at[0][:, None], joined.steps[at]] + joined.atoms[at]
        return MoleculeGraphs(
            atoms=atoms,
            molecule=row[which],
            ends=torch.cat([self._table("ends")[inside] + base[which_bond][:, None], between]),
            bonds=torch.cat(
                [self._table("bonds")[inside], torch.stack([joined.order[at], joined.in_ring[at].long()], 1)]
            ),
            num_molecules=len(k),
        )

    def _joined(self, k: Tensor, real: Tensor, written: Tensor) -> _Joined:
        """Write all rows at once, one step after another."""
        rows, length = k.shape
        f = (k - self.first).clamp_min(0)
        opens = (self._table("after")[..., 1] > 0).sum(1)[f] * written
        before, after = self._table("before")[f], self._table("after")[f]
        stack = k.new_zeros(rows, 1 + int(opens.sum(1).max()) if rows else 1)  # step · C + point
        height, zero = k.new_zeros(rows), k.new_zeros(rows)
        n, place = torch.arange(rows, device=k.device), torch.arange(stack.shape[1], device=k.device)[None]
        above = torch.eye(length, dtype=torch.bool, device=k.device).repeat(rows, 1, 1)  # A(s), with s itself
        in_ring = torch.zeros_like(real)
        steps, atoms, order, there = [], [], [], []
        for t in range(length):
            filled = real[:, t] & (height > 0)
            top = (height - 1).clamp_min(0)
            one = torch.where(filled, stack[n, top], zero)
            below = top - (k[:, t] - _BEFORE_RINGS + 1)
            rings = filled & ~written[:, t] & (k[:, t] >= _BEFORE_RINGS) & (below >= 0)
            other = stack[n, below.clamp_min(0)]
            a, point = one // self.points, one % self.points
            b, other_point = other // self.points, other % self.points
            grown = filled & written[:, t] & (before[:, t, 1] > 0)
            above[:, t] |= above[n, a] & grown[:, None]
            in_ring |= (above[n, a] ^ above[n, b]) & rings[:, None]
            there.append(grown | rings)
            steps.append(torch.stack([a, torch.where(rings, b, zero + t)], 1))
            end = torch.where(rings, after[n, b, other_point, 0], before[:, t, 0])
            atoms.append(torch.stack([after[n, a, point, 0], end], 1))
            order.append(after[n, a, point, 1])
            # the point on top is filled, that which it was joined to is taken out, and those of this symbol are opened
            stack = stack.gather(
                1, (place + (rings[:, None] & (place >= below[:, None]))).clamp_max(place.shape[1] - 1)
            )
            height = height - filled.long() - rings.long()
            new = height[:, None] + opens[:, t, None] - 1 - place
            is_new = (place >= height[:, None]) & (new >= 0)
            stack = torch.where(is_new, t * self.points + new, stack)
            height = height + opens[:, t]
        joined = torch.stack(there, 1)
        return _Joined(
            there=joined,
            steps=torch.stack(steps, 1),
            atoms=torch.stack(atoms, 1),
            order=torch.stack(order, 1),
            in_ring=torch.where(written, in_ring, joined),  # a bond that closes a ring is in one
        )

    def _table(self, name: str) -> Tensor:
        return cast(Tensor, getattr(self, name))


def _ragged(count: Int[Tensor, "group"]) -> tuple[Int[Tensor, "all"], Int[Tensor, "all"]]:
    """Of groups of these sizes, one after another: the group of each member, and its place in the group."""
    group = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    return group, torch.arange(len(group), device=count.device) - (count.cumsum(0) - count)[group]
