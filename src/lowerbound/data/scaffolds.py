"""A scaffold as the places that draws have to fill: which symbols of a model hold each of its parts, and how.

The single bonds of the scaffold outside of rings are cut, as those of every molecule (`derivations`). A part lies in a
symbol where its atoms and bonds do, with a point of the symbol for each bond that was cut. Hydrogens are not asked for:
a part may have further points, and may be a part of a larger ring system or of a group with a double bond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from typing import Any

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.derivations import symbol_parts
from lowerbound.data.errors import clipped
from lowerbound.data.fragments import first_of_points
from lowerbound.data.schema import MoleculeSchema
from lowerbound.data.smiles import read_molecules
from lowerbound.likelihoods.scaffolds import Place, Scaffold

__all__ = ["scaffold_of"]

_MOST_ATOMS = 250


def scaffold_of(smiles: str, schema: MoleculeSchema) -> Scaffold:
    """The places of a scaffold, for the root the largest part that the model can begin with.

    Arguments:
        smiles: of one component.
        schema: of the molecules of the model, with its symbols.

    Raises:
        ValueError: no molecule, several components, too many atoms, or a part that no symbol of the model holds.
    """
    (read,) = read_molecules([smiles])
    if not read.smiles or read.is_salt:
        why = "has several components" if read.smiles else f"is {read.why}"
        raise ValueError(f"The scaffold '{clipped(smiles)}' {why}; give SMILES of one connected part of a molecule.")
    num_atoms = rdkit_chem().MolFromSmiles(read.smiles).GetNumAtoms()
    if num_atoms > _MOST_ATOMS:
        raise ValueError(f"The scaffold has {num_atoms:,} atoms without hydrogens; give one of at most {_MOST_ATOMS}.")
    tree, failed = _Tree(read.smiles, schema.symbols), list[ValueError]()
    for root in sorted(tree.parts, key=lambda part: (-len(part), part)):
        tree.places.clear()
        try:
            tree.place(root, None)
        except ValueError as error:
            failed.append(error)
        else:
            return Scaffold(tuple(tree.places))
    raise failed[0]


class _Tree:
    """A scaffold cut into parts, and the places made of them so far."""

    def __init__(self, smiles: str, symbols: Sequence[str]):
        Chem = rdkit_chem()
        self.mol, self.symbols, self.places = Chem.MolFromSmiles(smiles), symbols, list[Place]()
        cut = [b for b in self.mol.GetBonds() if b.GetBondType() == Chem.BondType.SINGLE and not b.IsInRing()]
        apart = Chem.FragmentOnBonds(self.mol, [b.GetIdx() for b in cut], addDummies=False) if cut else self.mol
        self.parts: list[tuple[int, ...]] = list(Chem.GetMolFrags(apart))
        ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in cut]
        self.ends = [*ends, *((j, i) for i, j in ends)]

    def place(self, part: tuple[int, ...], before: tuple[int, int] | None) -> int:
        """Append a part and what hangs on it.

        Arguments:
            part: its atoms.
            before: of the bond to the part before it, the atom here and the atom there; None for the root.

        Returns:
            Its number.
        """
        number = len(self.places)
        self.places.append(Place({}, 0))
        hanging = []  # the atom here, the place there
        for here, there in self.ends:
            if here in part and (here, there) != before:
                owner = next(one for one in self.parts if there in one)
                hanging.append((here, self.place(owner, (there, here))))
        ways = _ways(self.mol, part, None if before is None else before[0], hanging, self.symbols)
        if not ways:
            name = rdkit_chem().MolFragmentToSmiles(self.mol, atomsToUse=list(part))
            bonds = len(hanging) + (before is not None)
            raise ValueError(
                f"The scaffold needs {clipped(name)} with {bonds} bond{'s' * (bonds != 1)} to its other parts, which "
                "no fragment of the model has there; take a scaffold of the molecules of the fit, or fit with more of "
                "them."
            )
        fewest = min(len(one) for some in ways.values() for one in some)
        self.places[number] = Place(ways, 1 + fewest + sum(self.places[there].room - 1 for _, there in hanging))
        return number


def _ways(
    mol: Any, part: Sequence[int], before: int | None, hanging: Sequence[tuple[int, int]], symbols: Sequence[str]
) -> dict[int, tuple[tuple[int, ...], ...]]:
    """By the number of each symbol that holds a part, what its points wait for in each way in which it lies there."""
    query, found = _query(mol, part), {}
    at = {atom: place for place, atom in enumerate(part)}
    for number in range(first_of_points(symbols), len(symbols)):
        held, opened, parent = symbol_parts(symbols[number])
        if (parent is None) != (before is None):
            continue
        points = _single_points(held, opened)
        ways = {
            way
            for match in held.GetSubstructMatches(query, uniquify=False)
            if before is None or (parent is not None and match[at[before]] == parent[1] and _is_single(held, parent))
            for way in _assigned([(match[at[atom]], there) for atom, there in hanging], points, len(opened))
        }
        if ways:
            found[number] = tuple(sorted(ways))
    return found


def _query(mol: Any, part: Sequence[int]) -> Any:
    """The atoms of a part by element, charge and aromaticity, and their bonds."""
    Chem = rdkit_chem()
    query, place_of = Chem.RWMol(), {}
    for index in part:
        atom = mol.GetAtomWithIdx(index)
        kind, charge = "a" if atom.GetIsAromatic() else "A", atom.GetFormalCharge()
        place_of[index] = query.AddAtom(Chem.AtomFromSmarts(f"[#{atom.GetAtomicNum()};{kind};{charge:+d}]"))
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if i in place_of and j in place_of:
            query.AddBond(place_of[i], place_of[j], bond.GetBondType())
    return query


def _single_points(held: Any, opened: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    """By atom, the numbers of its points of single bonds."""
    found: dict[int, list[int]] = {}
    for number, point in enumerate(opened):
        if _is_single(held, point):
            found.setdefault(point[1], []).append(number)
    return found


def _is_single(held: Any, point: tuple[int, int]) -> bool:
    return held.GetBondBetweenAtoms(*point).GetBondType() == rdkit_chem().BondType.SINGLE


def _assigned(
    wanted: Sequence[tuple[int, int]], points: Mapping[int, Sequence[int]], count: int
) -> Iterator[tuple[int, ...]]:
    """What each of `count` points waits for, in every way in which each place gets a point of its atom."""
    by_atom: dict[int, list[int]] = {}
    for atom, there in wanted:
        by_atom.setdefault(atom, []).append(there)
    choices = (permutations(points.get(atom, ()), len(places)) for atom, places in by_atom.items())
    for chosen in product(*choices):
        way = [-1] * count
        for taken, places in zip(chosen, by_atom.values(), strict=True):
            for point, there in zip(taken, places, strict=True):
                way[point] = there
        yield tuple(way)
