"""Tables of the atoms and bonds of symbols, read from words such as "0|c0c1c1c0c1c1|0:1,1:2,…|0-|3-".

The words are those of `data.fragment_graphs`, which says what their five parts are. RDKit is not needed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

__all__ = ["ATOM_SIZES", "BOND_SIZES", "FragmentTables", "classes_of"]

_ELEMENTS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")
_CHARGES = {"": 0, "+": 1, "-": 2}
_MOST = 6  # neighbours, and hydrogens
_AROMATIC, _ORDERS, _RING = 4, {"-": 1, "=": 2, "#": 3}, {"s": 1, "d": 2, "t": 3}

ATOM_SIZES = (len(_ELEMENTS), len(_CHARGES), 2, _MOST + 1, _MOST + 1)
"""How many values each number of an atom has: element, charge, aromatic, neighbours, hydrogens."""

BOND_SIZES = (_AROMATIC + 1, 2)
"""The same of a bond: its order, 4 where aromatic; whether it is in a ring."""

_ATOM = re.compile(r"(Si|Cl|Se|Br|se|si|[BCNOFPSI]|[bcnops])([+-]?)(\d)")
_BOND = re.compile(r"(\d+)([-=#sdt:])(\d+)")
_POINT = re.compile(r"(\d+)([-=#])")


@dataclass
class FragmentTables:
    """Of F fragments, with their A atoms and E bonds one after another.

    Attributes:
        atom_start: the first atom of each fragment, and A at the end (F + 1,).
        atoms: the numbers of `ATOM_SIZES` of each atom (A, 5).
        bond_start: the first bond of each fragment, and E at the end (F + 1,).
        ends: the two atoms of each bond, counted within the fragment (E, 2).
        bonds: the numbers of `BOND_SIZES` of each bond (E, 2).
        before: the atom and the order of the point before (F, 2); the order is 0 where there is none.
        after: the atom and the order of each point after (F, C, 2); the order is 0 beyond the last.
    """

    atom_start: Int[np.ndarray, "start"]
    atoms: Int[np.ndarray, "atom 5"]
    bond_start: Int[np.ndarray, "start"]
    ends: Int[np.ndarray, "bond 2"]
    bonds: Int[np.ndarray, "bond 2"]
    before: Int[np.ndarray, "fragment 2"]
    after: Int[np.ndarray, "fragment child 2"]

    @classmethod
    def read(cls, fragments: str) -> FragmentTables:
        """The tables of words.

        Raises:
            ValueError: a word that says no fragment.

        >>> FragmentTables.read("0|C3|||0-;1|C1O0|0=1|0-|").atoms.tolist()
        [[1, 0, 0, 1, 3], [1, 0, 0, 2, 1], [3, 0, 0, 1, 0]]
        """
        atoms, ends, bonds, befores, afters = [], [], [], [], []
        atom_start, bond_start = [0], [0]
        for word in fragments.split(";"):
            parts = _parts(word)
            found = [(int(i), symbol, int(j)) for i, symbol, j in _BOND.findall(parts[2])]
            before, after = _points(parts[3]), _points(parts[4])
            neighbours = [i for i, _, j in found for i in (i, j)] + [i for i, _ in before + after]
            for place, (element, charge, hydrogens) in enumerate(_ATOM.findall(parts[1])):
                degree = min(_MOST, neighbours.count(place))
                number = _ELEMENTS.index(element.capitalize())
                atoms.append((number, _CHARGES[charge], int(element.islower()), degree, min(_MOST, int(hydrogens))))
            ends += [(i, j) for i, _, j in found]
            bonds += [_bond(symbol) for _, symbol, _ in found]
            befores.append((*before, (0, 0))[0])
            afters.append(after)
            atom_start.append(len(atoms))
            bond_start.append(len(bonds))
        widest = max(1, *(len(after) for after in afters))
        padded = [after + [(0, 0)] * (widest - len(after)) for after in afters]
        return cls(
            np.array(atom_start),
            np.array(atoms, np.int64).reshape(-1, len(ATOM_SIZES)),
            np.array(bond_start),
            np.array(ends, np.int64).reshape(-1, 2),
            np.array(bonds, np.int64).reshape(-1, 2),
            np.array(befores),
            np.array(padded),
        )


def classes_of(fragments: str, num_symbols: int) -> list[int]:
    """The class of each of K symbols; each of those before the fragments is a class of its own, the first ones.

    >>> classes_of("0|C3|||0-;0|C3|||0-;1|C4|||", 5)
    [0, 1, 2, 2, 3]
    """
    words = [int(_parts(word)[0]) for word in fragments.split(";")]
    first = num_symbols - len(words)
    return [*range(first), *(first + number for number in words)]


def _parts(word: str) -> list[str]:
    parts = word.split("|")
    atoms = "".join("".join(one) for one in _ATOM.findall(parts[1])) if len(parts) == 5 else ""
    if len(parts) != 5 or not parts[0].isdecimal() or not atoms or atoms != parts[1]:
        raise ValueError(f"A fragment was spelled {word[:40]!r}; expected words such as 0|C3|||0-.")
    return parts


def _points(word: str) -> list[tuple[int, int]]:
    return [(int(atom), _ORDERS[order]) for atom, order in _POINT.findall(word)]


def _bond(symbol: str) -> tuple[int, int]:
    if symbol == ":":
        return _AROMATIC, 1
    return (_RING[symbol], 1) if symbol in _RING else (_ORDERS[symbol], 0)
