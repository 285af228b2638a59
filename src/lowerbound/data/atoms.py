"""The alphabet of single atoms, in which every ring and chain that the fragments lack can be written.

It is fixed: each element and charge of the table below, with every set of bonds of order 1 to 3 that its valence
allows. So whether a molecule can be written depends on no training data. What it lacks: other elements (metals,
isotopes), radicals, hydrogen on sulfur or phosphorus of a higher valence.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.pieces import Atom, Piece, symbol_of

__all__ = ["alphabet", "outside_alphabet"]

_VALENCES: dict[tuple[str, int], tuple[int, ...]] = {
    ("B", 0): (3,),
    ("C", 0): (4,),
    ("N", 0): (3,),
    ("O", 0): (2,),
    ("F", 0): (1,),
    ("Si", 0): (4,),
    ("P", 0): (3, 5),
    ("S", 0): (2, 4, 6),
    ("Cl", 0): (1,),
    ("Se", 0): (2,),
    ("Br", 0): (1,),
    ("I", 0): (1,),
    ("B", -1): (4,),
    ("C", -1): (3,),
    ("N", 1): (4,),
    ("N", -1): (2,),
    ("O", 1): (3,),
    ("O", -1): (1,),
    ("P", 1): (4,),
    ("S", 1): (3,),
    ("S", -1): (1,),
}


@cache
def alphabet() -> tuple[str, ...]:
    """The symbols of single atoms: of each the root of a molecule, and what follows a bond of order 1, 2 or 3."""
    table = rdkit_chem().GetPeriodicTable()
    found: dict[str, None] = {}
    for (element, charge), valences in _VALENCES.items():
        for place, valence in enumerate(valences):
            for parent in range(min(3, valence) + 1):
                for children in _bonds(valence - parent):
                    hydrogens = valence - parent - sum(children)
                    if place == 0 or hydrogens == 0:
                        atom = Atom(table.GetAtomicNumber(element), charge, hydrogens, aromatic=False)
                        orders = ((0, parent, True),) if parent else ()
                        piece = Piece((atom,), (), orders + tuple((0, order, False) for order in children))
                        found[symbol_of(piece)[0]] = None
    return tuple(found)


def outside_alphabet(kekulized: Any) -> str | None:
    """What of a molecule cannot be written, in words; None if there is nothing.

    Arguments:
        kekulized: an RDKit molecule without aromatic bonds.
    """
    for atom in kekulized.GetAtoms():
        if atom.GetIsotope():
            return "an isotope"
        valences = _VALENCES.get((atom.GetSymbol(), atom.GetFormalCharge()))
        charge = atom.GetFormalCharge()
        if valences is None:
            return f"{atom.GetSymbol()}{f'{charge:+d}' if charge else ''}" if atom.GetAtomicNum() else "an open end (*)"
        hydrogens = atom.GetTotalNumHs()
        valence = hydrogens + sum(int(bond.GetBondTypeAsDouble()) for bond in atom.GetBonds())
        if valence not in valences or (valence != valences[0] and hydrogens):
            return f"{atom.GetSymbol()} of valence {valence}"
        if any(bond.GetBondTypeAsDouble() not in (1, 2, 3) for bond in atom.GetBonds()):
            return "a bond of another order"
    return None


def _bonds(most: int, largest: int = 3) -> Iterator[tuple[int, ...]]:
    """Every multiset of bond orders that add up to at most `most`."""
    yield ()
    for order in range(1, min(most, largest) + 1):
        for others in _bonds(most - order, order):
            yield (order, *others)
