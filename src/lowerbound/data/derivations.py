"""A molecule as a list of symbols, and back.

Every single bond that is in no ring is cut. What is left are ring systems, chains of double bonds and single atoms: the
fragments. A fragment that the vocabulary lacks is cut at all of its bonds, into atoms with single, double and triple
bonds; where rings are taken apart, it is first cut at its single bonds, into aromatic systems, double bonds and atoms,
and of these what is still unknown at all bonds. The list begins at the largest fragment. Each symbol opens points; the
next symbol fills the point that was opened last, and of the points of one symbol the first comes first. A bond that
closes a ring joins two open points and is written `&j`: the next point is joined to the j-th open one below it.

So a list fills every point it opens with a bond of the same order, and whatever it says is a molecule within valence.
The list of a molecule follows from its canonical SMILES alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import islice, product
from typing import Any

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.pieces import Atom, Piece, symbol_of

__all__ = [
    "all_derivations",
    "assemble",
    "atoms_of_points",
    "derivation",
    "is_fragment",
    "parts_of_rings",
    "point_orders",
    "symbol_parts",
]


def is_fragment(symbol: str) -> bool:
    """Whether a symbol is a fragment or an atom, and closes no ring."""
    return not symbol.startswith("&")


def derivation(smiles: str, known: Collection[str] | None = None, *, rings: bool = False) -> list[str]:
    """The symbols of a molecule.

    Arguments:
        smiles: canonical, of one component, without stereo marks.
        known: the fragments that need not be written by atoms; None for all.
        rings: whether unknown ring systems are cut at their single bonds before they are written by atoms.

    >>> derivation("Cc1ccccc1")
    ['*c1ccccc1', '[1*]C']
    >>> derivation("C1CC1", known=())
    ['*C*', '*C[1*]', '*C[1*]', '&1']
    >>> derivation("C1CCc2ccccc21", {"*c1ccccc1[1*]"}, rings=True)
    ['*C*', '*C[1*]', '*C[1*]', '*c1ccccc1[1*]', '&1']
    """
    return _written(smiles, known, rings)[1]


def parts_of_rings(smiles: str, known: Collection[str]) -> list[str]:
    """The fragments of a molecule whose unknown ring systems are cut at their single bonds and no further.

    Arguments:
        smiles: as for `derivation`.
        known: fragments that are left whole.
    """
    parts = _cut(smiles)
    parts.spell(parts.written(known)[1], rings=True)
    return [symbol for symbol in parts.written(None)[0] if is_fragment(symbol)]


def all_derivations(
    smiles: str, known: Collection[str] | None = None, *, most: int = 64, rings: bool = False
) -> list[list[str]]:
    """The lists that differ from that of a molecule by the symmetry of its symbols alone, itself the first.

    Equal points of a symbol (the two of `*c1ccc(*)cc1`) may be filled in any order, so that several lists with one root
    say one molecule. Other roots, and known fragments written by atoms, are not among them.

    Arguments:
        smiles: as for `derivation`.
        known: as for `derivation`.
        most: of the lists; the first ones of more.
        rings: as for `derivation`.

    >>> all_derivations("Cc1ccc(O)cc1")
    [['*c1ccc(*)cc1', '[1*]C', '[1*]O'], ['*c1ccc(*)cc1', '[1*]O', '[1*]C']]
    """
    parts, symbols = _written(smiles, known, rings)
    found = {tuple(symbols): None}
    choices = [[(piece, order) for order in orders] for piece, orders in parts.orders.items()]
    for chosen in islice(product(*choices), 16 * most):
        if len(found) == most:
            break
        found[tuple(parts.written(known, dict(chosen))[0])] = None
    return [list(one) for one in found]


def _written(smiles: str, known: Collection[str] | None, rings: bool) -> tuple[_Parts, list[str]]:
    """A molecule cut so that all of its pieces are known, and its symbols."""
    parts = _cut(smiles)
    while True:
        symbols, unknown = parts.written(known)
        if not unknown:
            return parts, symbols
        parts.spell(unknown, rings=rings)


def _cut(smiles: str) -> _Parts:
    """A molecule cut at the single bonds that are in no ring."""
    Chem = rdkit_chem()
    mol = Chem.MolFromSmiles(smiles)
    cut = {b.GetIdx() for b in mol.GetBonds() if b.GetBondType() == Chem.BondType.SINGLE and not b.IsInRing()}
    return _Parts(Chem, mol, cut)


class _Parts:
    """A molecule cut at some bonds."""

    def __init__(self, Chem: Any, mol: Any, cut: set[int]):
        self.mol, self.by_atoms = mol, Chem.Mol(mol)
        Chem.Kekulize(self.by_atoms, clearAromaticFlags=True)
        self.cut, self.spelled, self.opened = cut, set[int](), set[int]()
        self.single = {b.GetIdx() for b in mol.GetBonds() if b.GetBondType() == Chem.BondType.SINGLE}
        self.ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
        self._divide()
        first = min(self.members, key=lambda m: (-len(m), m))  # the largest, and of those the first
        self.root = first[0]

    def spell(self, pieces: Sequence[int], *, rings: bool) -> None:
        """Cut these pieces into atoms; where rings are taken apart, first at their single bonds."""
        for piece in pieces:
            inside = set(self.members[piece])
            within = {k for k, (i, j) in enumerate(self.ends) if i in inside and j in inside}
            if rings and within & self.single and not inside & self.opened:
                self.opened |= inside
                self.cut |= within & self.single
            else:
                self.spelled |= inside
                self.cut |= within
        self._divide()

    def written(
        self, known: Collection[str] | None, orders: Mapping[int, Sequence[int]] | None = None
    ) -> tuple[list[str], list[int]]:
        """The symbols, and the pieces of several atoms that are not known.

        Arguments:
            known: the fragments that need not be written by atoms; None for all.
            orders: by piece, in which order its points are filled; None for that of its symbol.
        """
        symbols: list[str] = []
        self.orders: dict[int, tuple[tuple[int, ...], ...]] = {}
        unknown, stack, placed = [], list[tuple[int, int]](), set[int]()

        def place(piece: int, before: int | None) -> None:
            symbol, bonds = self._symbol(piece, before)
            if known is not None and len(self.members[piece]) > 1 and symbol not in known:
                unknown.append(piece)
            symbols.append(symbol)
            placed.add(piece)
            self.orders[piece] = point_orders(symbol)
            asked = None if orders is None else orders.get(piece)
            # a piece that is reached by another bond has another symbol, to which the order may not apply
            order = asked if asked in self.orders[piece] else range(len(bonds))
            stack.extend((bonds[k], piece) for k in reversed(order))

        place(self.owner[self.root], None)
        while stack:
            bond, here = stack.pop()
            i, j = self.ends[bond]
            there = self.owner[j] if self.owner[i] == here else self.owner[i]
            if there in placed:
                where = stack.index((bond, there))
                symbols.append(f"&{len(stack) - where}")
                del stack[where]
            else:
                place(there, bond)
        return symbols, unknown

    def _divide(self) -> None:
        """Number the pieces."""
        owner = [-1] * self.mol.GetNumAtoms()
        joined: list[list[int]] = [[] for _ in owner]
        for k, (i, j) in enumerate(self.ends):
            if k not in self.cut:
                joined[i].append(j)
                joined[j].append(i)
        self.members: list[tuple[int, ...]] = []
        for start in range(len(owner)):
            if owner[start] < 0:
                found, todo = [], [start]
                owner[start] = len(self.members)
                while todo:
                    found.append(i := todo.pop())
                    for j in joined[i]:
                        if owner[j] < 0:
                            owner[j] = len(self.members)
                            todo.append(j)
                self.members.append(tuple(sorted(found)))
        self.owner = owner
        self.cut = {k for k in self.cut if owner[self.ends[k][0]] != owner[self.ends[k][1]]}  # no piece joins itself

    def _symbol(self, piece: int, before: int | None) -> tuple[str, list[int]]:
        """The symbol of a piece entered by the bond `before`, and its other cut bonds in order."""
        members = self.members[piece]
        mol = self.by_atoms if members[0] in self.spelled else self.mol
        place_of = {atom: place for place, atom in enumerate(members)}
        atoms, bonds, points, cuts = [], [], [], []
        for atom in members:
            a = mol.GetAtomWithIdx(atom)
            atoms.append(Atom(a.GetAtomicNum(), a.GetFormalCharge(), a.GetTotalNumHs(), a.GetIsAromatic()))
            for b in a.GetBonds():
                k, order = b.GetIdx(), round(10 * b.GetBondTypeAsDouble())
                if k in self.cut:
                    points.append((place_of[atom], order // 10, k == before))
                    cuts.append(k)
                elif b.GetOtherAtomIdx(atom) > atom:
                    bonds.append((place_of[atom], place_of[b.GetOtherAtomIdx(atom)], order))
        symbol, order_of = symbol_of(Piece(tuple(atoms), tuple(bonds), tuple(points)))
        return symbol, [cuts[number] for number in order_of]


def assemble(symbols: Sequence[str]) -> str:
    """The canonical SMILES of the molecule that a list of symbols describes.

    >>> assemble(["*c1ccccc1", "[1*]C"])
    'Cc1ccccc1'

    Raises:
        ValueError: the list leaves points open, or says what no molecule has.
    """
    Chem = rdkit_chem()
    made, stack, dummies = Chem.RWMol(), list[tuple[int, int]](), []
    for place, symbol in enumerate(symbols):
        if place and not stack:
            raise ValueError(f"A molecule of {len(symbols)} symbols is complete after {place}; nothing may follow.")
        here = stack.pop() if place else None
        if not is_fragment(symbol):
            at = len(stack) - int(symbol[1:])
            if here is None or at < 0:
                raise ValueError(f"Symbol {symbol!r} joins a point that is not open.")
            _join(Chem, made, here, stack.pop(at), dummies)
            continue
        part, opened, before = symbol_parts(symbol)
        offset = made.GetNumAtoms()
        made.InsertMol(part)
        if (before is None) != (here is None):
            raise ValueError(f"Symbol {symbol!r} cannot stand at place {place}.")
        if here is not None and before is not None:
            _join(Chem, made, here, (before[0] + offset, before[1] + offset), dummies)
        stack.extend((dummy + offset, atom + offset) for dummy, atom in reversed(opened))
    if stack or not symbols:
        raise ValueError(f"A molecule of {len(symbols)} symbols leaves {len(stack)} points open.")
    made.BeginBatchEdit()
    for dummy in dummies:
        made.RemoveAtom(dummy)
    made.CommitBatchEdit()
    Chem.SanitizeMol(made)
    return Chem.MolToSmiles(made)


def _join(Chem: Any, made: Any, one: tuple[int, int], other: tuple[int, int], dummies: list[int]) -> None:
    """A bond between the atoms of two points, each a dummy and its atom, of the order of the first."""
    order = made.GetBondBetweenAtoms(*one).GetBondType()
    if (
        one[1] == other[1]
        or made.GetBondBetweenAtoms(*other).GetBondType() != order
        or made.GetBondBetweenAtoms(one[1], other[1])
    ):
        raise ValueError("Two points of different bonds are joined, or of one atom, or of two that have a bond.")
    made.AddBond(one[1], other[1], order)
    dummies += [one[0], other[0]]


@lru_cache(maxsize=2**14)
def point_orders(symbol: str) -> tuple[tuple[int, ...], ...]:
    """The orders of the points of a symbol, but the one before it, that its symmetry cannot tell apart.

    >>> point_orders("*c1ccc(*)cc1"), point_orders("*c1ccc(*)nc1")
    (((0, 1), (1, 0)), ((0, 1),))
    """
    part, opened, _ = symbol_parts(symbol)
    if len(opened) < 2:
        return (tuple(range(len(opened))),)

    def seen(place: int) -> tuple[int, int, int, int]:
        atom = part.GetAtomWithIdx(place)
        return atom.GetAtomicNum(), atom.GetIsotope(), atom.GetFormalCharge(), atom.GetTotalNumHs()

    number_of = {dummy: number for number, (dummy, _) in enumerate(opened)}
    found = {
        tuple(number_of[match[dummy]] for dummy, _ in opened)
        for match in part.GetSubstructMatches(part, uniquify=False)
        if all(seen(place) == seen(other) for place, other in enumerate(match))
    }
    return tuple(sorted(found))


@lru_cache(maxsize=2**14)
def symbol_parts(symbol: str) -> tuple[Any, list[tuple[int, int]], tuple[int, int] | None]:
    """The molecule of a symbol, its points (dummy, atom) in order, and the one that faces what is before it."""
    part = rdkit_chem().MolFromSmiles(symbol)
    if part is None:
        raise ValueError(f"Symbol {symbol!r} is no fragment of a molecule.")
    opened, before = [], None
    for atom in part.GetAtoms():
        if atom.GetAtomicNum() == 0:
            pair = (atom.GetIdx(), atom.GetNeighbors()[0].GetIdx())
            if atom.GetIsotope() == 1:
                before = pair
            else:
                opened.append(pair)
    return part, opened, before


def atoms_of_points(symbol: str) -> list[int]:
    """The atom of each point of a symbol, that of the point before it first, if it has one.

    >>> atoms_of_points("[1*]c1ccccc1*")
    [1, 6]
    """
    _, opened, before = symbol_parts(symbol)
    return [atom for _, atom in ([] if before is None else [before]) + opened]
