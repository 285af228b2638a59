"""The symbols in which molecules are written, as strings, and where they can be joined.

A symbol is a fragment in SMILES whose atoms `*` are its points: each is one end of a bond that was cut, of the order
that the SMILES gives it. `[1*]` is the point that faces what was written before it; the first symbol of a molecule has
none. `&j` joins the point that comes next to the j-th of those that are still open. RDKit is not needed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

__all__ = ["Points", "points_of", "spelled_points"]

_ORDER = {"": 1, "-": 1, "=": 2, "#": 3}
_FIRST = re.compile(r"^(\[1\*\]|\*)([-=#]?)")
_LATER = re.compile(r"([-=#]?)(\[1\*\]|\*)")
_ATOM = re.compile(r"\[[^\]]+\]|Cl|Br|[A-Za-z]")


@dataclass(frozen=True, order=True)
class Points:
    """Where a fragment can be joined.

    Attributes:
        parent: the order of the bond to what was written before it; 0 if it is the first of a molecule.
        children: the orders of the bonds to what is written after it, in order.
        is_atom: whether it is a single atom, whose points may be joined to rings.
    """

    parent: int
    children: tuple[int, ...]
    is_atom: bool

    @property
    def word(self) -> str:
        """As `likelihoods.Fragments` reads it: "a1-12" is an atom with a single bond before, a single and a double one
        after.
        """
        return f"{'a' if self.is_atom else 'f'}{self.parent}-{''.join(map(str, self.children))}"


def points_of(symbol: str) -> Points:
    """The points of a fragment in SMILES.

    >>> points_of("[1*]C(*)=*")
    Points(parent=1, children=(1, 2), is_atom=True)
    >>> points_of("*=C1CCCC1").word
    'f0-2'
    """
    parent, children, rest = 0, [], symbol
    first = _FIRST.match(rest)
    found = [] if first is None else [(first[1], _ORDER[first[2]])]
    rest = rest if first is None else rest[first.end() :]
    found += [(m[2], _ORDER[m[1]]) for m in _LATER.finditer(rest)]
    for dummy, order in found:
        if dummy == "[1*]":
            parent = order
        else:
            children.append(order)
    return Points(parent, tuple(children), len(_ATOM.findall(_LATER.sub("", rest))) == 1)


def spelled_points(symbols: Sequence[str], atoms: Callable[[str], Sequence[int]] | None = None) -> str:
    """The points of symbols in order, in words: "3*a0-1+f1-11".

    Arguments:
        symbols: fragments and atoms.
        atoms: the atom of each point of a symbol, that of the point before it first if there is one; where it is
            given, fragments are spelled with the atoms of their points: "r1a-1b", so that these may be joined to rings.

    >>> spelled_points(["*C", "*N", "[1*]c1ccccc1"])
    '2*a0-1+f1-'
    """
    words = (_with_atoms(points_of(one), () if atoms is None else atoms(one)) for one in symbols)
    groups = [(word, len(list(same))) for word, same in groupby(words)]
    return "+".join(word if count == 1 else f"{count}*{word}" for word, count in groups)


def _with_atoms(points: Points, atoms: Sequence[int]) -> str:
    """A word with the atoms of the points, numbered from the first on; single atoms, and points of none, without."""
    if points.is_atom or not atoms:
        return points.word
    letters = {atom: chr(ord("a") + n) for n, atom in enumerate(dict.fromkeys(atoms))}
    named = [letters[atom] for atom in atoms]
    before = f"{points.parent}{named.pop(0) if points.parent else ''}"
    return f"r{before}-{''.join(f'{order}{name}' for order, name in zip(points.children, named, strict=True))}"
