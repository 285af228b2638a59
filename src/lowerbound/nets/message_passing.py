"""From molecules to one vector each, by messages between bonded atoms (Gilmer et al. 2017, arXiv:1704.01212, eqs. 1–4).

    m_v = Σ_{u ∈ N(v)} relu(W h_u + E e_uv)        h_v ← GRU(h_v, m_v)        R rounds
    f = V Σ_v σ(i(h_v, h_v⁰)) ⊙ tanh(j(h_v))

h_v⁰ is made of the element, the charge, the hydrogens and the number of neighbours of an atom and of whether it is
aromatic; e_uv of the order of the bond and of whether it is in a ring. Sums have no order, so that f does not depend on
how atoms are numbered, and no atom is there but those of the molecules.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.fragment_tables import ATOM_SIZES, BOND_SIZES
from lowerbound.nets.molecule_graphs import MoleculeGraphs, RowsToGraphs
from lowerbound.nets.shapes import Shape, as_shape, numel

__all__ = ["MessagePassing", "MoleculeEncoder"]

_ROUNDS = 4


class MessagePassing(nn.Module):
    """From graphs of B molecules to (B, width).

    Arguments:
        width: of the states of atoms, and of the output.
        rounds: R, so that an atom hears of those at most so many bonds away.

    Raises:
        ValueError: sizes below one.
    """

    cites: ClassVar[tuple[str, ...]] = ("gilmer2017neural",)

    def __init__(self, width: int, rounds: int = _ROUNDS):
        super().__init__()
        if min(width, rounds) < 1:
            raise ValueError(f"MessagePassing got width={width} and rounds={rounds}; expected at least 1 of each.")
        self.rounds = rounds
        self.atom = nn.ModuleList(nn.Embedding(size, width) for size in ATOM_SIZES)
        self.bond = nn.ModuleList(nn.Embedding(size, width) for size in BOND_SIZES)
        self.message = nn.Linear(width, width, bias=False)
        self.update = nn.GRUCell(width, width)
        self.gate, self.value = nn.Linear(2 * width, width), nn.Linear(width, width)

    def forward(self, graphs: MoleculeGraphs) -> Float[Tensor, "molecule width"]:
        """Σ_v σ(i(h_v, h_v⁰)) ⊙ tanh(j(h_v)) of each molecule; 0 of one without atoms."""
        start = h = torch.relu(_summed(self.atom, graphs.atoms))
        e = _summed(self.bond, graphs.bonds).repeat(2, 1)
        to, of = torch.cat([graphs.ends, graphs.ends.flip(1)]).unbind(1)  # each bond both ways
        for _ in range(self.rounds):
            messages = torch.relu(self.message(h)[of] + e)
            h = self.update(torch.zeros_like(h).index_add(0, to, messages), h)
        pooled = torch.sigmoid(self.gate(torch.cat([h, start], 1))) * torch.tanh(self.value(h))
        return pooled.new_zeros(graphs.num_molecules, pooled.shape[1]).index_add(0, graphs.molecule, pooled)


class MoleculeEncoder(nn.Module):
    """From rows x (..., T) of symbols to (..., *out_shape), by the graphs of their atoms.

    Arguments:
        fragments: the words of the symbols that are fragments (`data.fragment_graphs`).
        num_symbols: K, with the end.
        out_shape: of the output.
        width: of the states of atoms.
        context: M, the length of a second input, which the last layer reads beside the pool; 0 for none.

    Raises:
        ValueError: words that say no fragments, or sizes below one.
    """

    takes_leading_axes: bool = True

    def __init__(self, fragments: str, num_symbols: int, out_shape: Shape, width: int = 256, context: int = 0):
        super().__init__()
        self.out_shape = as_shape(out_shape)
        self.graphs, self.body = RowsToGraphs(fragments, num_symbols), MessagePassing(width)
        self.out = nn.Linear(width + context, numel(self.out_shape))

    def forward(self, x: Float[Tensor, "..."], context: Float[Tensor, "..."] | None = None) -> Float[Tensor, "..."]:
        """One output for each molecule (..., T), and its context (..., M) if there is one."""
        pooled = self.body(self.graphs(x.reshape(-1, x.shape[-1])))
        if context is not None:
            pooled = torch.cat([pooled, context.expand(*x.shape[:-1], -1).reshape(len(pooled), -1)], -1)
        return self.out(pooled).reshape(*x.shape[:-1], *self.out_shape)


def _summed(embeddings: nn.ModuleList, numbers: Tensor) -> Tensor:
    return torch.stack([one(column) for one, column in zip(embeddings, numbers.unbind(1), strict=True)]).sum(0)
