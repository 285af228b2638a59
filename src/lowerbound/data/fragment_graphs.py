"""The atoms and bonds of the symbols in which molecules are written, in words that a net can read without RDKit.

One word for each fragment and atom, in their order, joined by ";":

    class|atoms|bonds|parent|children        0|c0c1c1c0c1c1|0:1,1:2,2:3,3:4,4:5,5:0|0-|3-

    class      symbols of one class are the same fragment with as many points of the same orders, at other atoms
    atoms      element (in small letters where aromatic), charge, hydrogens
    bonds      two atoms and what is between them: - = # of order 1 to 3, the same in a ring as s d t, : aromatic
    parent     the atom of the point that faces what is written before, and its order; empty for none
    children   the same of each point that is filled by what is written after, in their order

A class is what a tree of fragments says of a symbol, and the place within the class is how it is attached.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.derivations import symbol_parts
from lowerbound.data.points import points_of

__all__ = ["spelled_fragments"]

_CHAIN, _RING = {1: "-", 2: "=", 3: "#"}, {1: "s", 2: "d", 3: "t"}


@lru_cache(maxsize=8)
def spelled_fragments(symbols: tuple[str, ...]) -> str:
    """The words of symbols that are fragments or atoms.

    Raises:
        DataError: RDKit is not installed.

    >>> spelled_fragments(("*C", "[1*]C=O"))
    '0|C3|||0-;1|C1O0|0=1|0-|'
    """
    classes: dict[Any, int] = {}
    return ";".join(_word(symbol, classes) for symbol in symbols)


def _word(symbol: str, classes: dict[Any, int]) -> str:
    part, opened, before = symbol_parts(symbol)
    dummies = {atom.GetIdx() for atom in part.GetAtoms() if atom.GetAtomicNum() == 0}
    place = {index: i for i, index in enumerate(i for i in range(part.GetNumAtoms()) if i not in dummies)}
    atoms = "".join(_atom(part.GetAtomWithIdx(index)) for index in place)
    bonds = [
        f"{place[b.GetBeginAtomIdx()]}{_bond(b)}{place[b.GetEndAtomIdx()]}"
        for b in part.GetBonds()
        if not {b.GetBeginAtomIdx(), b.GetEndAtomIdx()} & dummies
    ]
    points = points_of(symbol)
    parent = "" if before is None else f"{place[before[1]]}{_CHAIN[points.parent]}"
    children = [f"{place[atom]}{_CHAIN[order]}" for (_, atom), order in zip(opened, points.children, strict=True)]
    of_class = (_bare(part, dummies), points)
    number = classes.setdefault(of_class, len(classes))
    return "|".join((str(number), atoms, ",".join(bonds), parent, ",".join(children)))


def _atom(atom: Any) -> str:
    element = atom.GetSymbol().lower() if atom.GetIsAromatic() else atom.GetSymbol()
    return f"{element}{ {0: '', 1: '+', -1: '-'}[atom.GetFormalCharge()] }{atom.GetTotalNumHs()}"


def _bond(bond: Any) -> str:
    if bond.GetIsAromatic():
        return ":"
    return (_RING if bond.IsInRing() else _CHAIN)[int(bond.GetBondTypeAsDouble())]


def _bare(part: Any, dummies: Sequence[int] | set[int]) -> str:
    """The fragment with a hydrogen, or several, in the place of each point: the same wherever the points are."""
    Chem = rdkit_chem()
    made = Chem.RWMol(part)
    for dummy in sorted(dummies, reverse=True):
        (bond,) = made.GetAtomWithIdx(dummy).GetBonds()
        atom = bond.GetOtherAtom(made.GetAtomWithIdx(dummy))
        atom.SetNumExplicitHs(atom.GetTotalNumHs() + int(bond.GetBondTypeAsDouble()))
        atom.SetNoImplicit(True)
        made.RemoveAtom(dummy)
    return Chem.MolToSmiles(made)
