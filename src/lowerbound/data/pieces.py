"""A piece of a molecule between cut bonds, and its symbol: its canonical SMILES with a point for every cut bond."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lowerbound.data.chemistry import rdkit_chem

__all__ = ["Atom", "Piece", "symbol_of"]


@dataclass(frozen=True)
class Atom:
    """What of an atom its SMILES says.

    Attributes:
        number: of the element.
        charge: its formal charge.
        hydrogens: how many it carries.
        aromatic: whether its ring is.
    """

    number: int
    charge: int
    hydrogens: int
    aromatic: bool


@dataclass(frozen=True)
class Piece:
    """Atoms with the bonds among them, and where bonds were cut.

    Attributes:
        atoms: in the order of the molecule.
        bonds: the places of both atoms, and the order times 10, which is 15 for an aromatic bond.
        points: for each cut bond the place of the atom, the order, and whether it faces what is written before.
    """

    atoms: tuple[Atom, ...]
    bonds: tuple[tuple[int, int, int], ...]
    points: tuple[tuple[int, int, bool], ...]


@lru_cache(maxsize=2**16)
def symbol_of(piece: Piece) -> tuple[str, tuple[int, ...]]:
    """The symbol, and the numbers of its points in the order in which the symbol has them, but the one before it."""
    Chem = rdkit_chem()
    orders = {10: Chem.BondType.SINGLE, 20: Chem.BondType.DOUBLE, 30: Chem.BondType.TRIPLE, 15: Chem.BondType.AROMATIC}
    made = Chem.RWMol()
    for atom in piece.atoms:
        made.AddAtom(_as_rdkit(Chem, atom))
    for i, j, order in piece.bonds:
        made.AddBond(i, j, orders[order])
        made.GetBondBetweenAtoms(i, j).SetIsAromatic(order == 15)
    number_of = {}
    for number, (place, order, before) in enumerate(piece.points):
        dummy = Chem.Atom(0)
        dummy.SetIsotope(int(before))
        number_of[made.AddAtom(dummy)] = number
        made.AddBond(place, made.GetNumAtoms() - 1, orders[10 * order])
    Chem.SanitizeMol(made)
    symbol = Chem.MolToSmiles(made)
    written = [int(i) for i in made.GetProp("_smilesAtomOutputOrder").strip("[],").split(",")]
    order_of = (number_of[i] for i in written if i in number_of)
    return symbol, tuple(number for number in order_of if not piece.points[number][2])


def _as_rdkit(Chem: Any, atom: Atom) -> Any:
    made = Chem.Atom(atom.number)
    made.SetFormalCharge(atom.charge)
    made.SetNumExplicitHs(atom.hydrogens)
    made.SetNoImplicit(True)
    made.SetIsAromatic(atom.aromatic)
    return made
