"""Lines of SMILES read as molecules: canonical, without stereo marks, the largest component of a salt.

Long files are read in parts, each of which is kept in the cache of this user under the checksum of its lines, so that
it is read once, and what was interrupted goes on where it stopped. Where several parts are to be read, a second process
reads every other one of them (`two_readers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lowerbound.data.atoms import outside_alphabet
from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.derivations import derivation
from lowerbound.data.kept import kept, place_of
from lowerbound.data.two_readers import read_parts

__all__ = ["MoleculeOptions", "ReadMolecule", "ReadMolecules", "place_of_part", "read_molecules", "read_part"]

_NO_MOLECULES = ("empty", "no molecule", "a reaction")
_PART = 5000  # lines; fewer are not kept


@dataclass(frozen=True, kw_only=True)
class MoleculeOptions:
    """What a user says about molecules.

    Attributes:
        longest: the most atoms of a molecule, where each ring counts as two; larger ones are left out and counted.
        vocabulary: how many fragments are known, the most frequent ones; others are written by atoms.
        rings: whether unknown ring systems are taken apart at their single bonds, into aromatic rings, double bonds
            and atoms, before they are written by atoms.
    """

    longest: int | None = None
    vocabulary: int | None = None
    rings: bool = False


@dataclass(frozen=True)
class ReadMolecule:
    """What became of a line.

    Attributes:
        smiles: canonical SMILES; "" where there is none.
        size: atoms and twice the rings, which is the most room that it can take: a symbol that joins a ring fills two
            points.
        reason: why there is none, in words; "" where there is one.
        symbols: its derivation by fragments.
        is_salt: whether the line had several components, of which the largest was kept.
        had_stereo: whether it had stereo marks, which were dropped.
    """

    smiles: str = ""
    size: int = 0
    reason: str = ""
    symbols: tuple[str, ...] = ()
    is_salt: bool = False
    had_stereo: bool = False

    @property
    def why(self) -> str:
        """What it is, where it has no SMILES: "no molecule", "a molecule with Pt"."""
        return self.reason if self.reason in _NO_MOLECULES else f"a molecule {self.reason}"


class ReadMolecules(tuple[ReadMolecule, ...]):
    """What became of some lines, in their order."""

    __slots__ = ()

    @property
    def smiles(self) -> tuple[str, ...]:
        """Canonical SMILES of each line; "" where there is none."""
        return tuple(one.smiles for one in self)

    @property
    def first_without(self) -> int | None:
        """The first line that is no molecule of the alphabet."""
        return next((i for i, one in enumerate(self) if not one.smiles), None)


def read_molecules(lines: Sequence[str]) -> ReadMolecules:
    """Read the first word of each line as SMILES.

    >>> read_molecules(["OCC name", "c1ccccc1.Cl", "[Na]", "no"]).smiles
    ('CCO', 'c1ccccc1', '', '')

    Raises:
        DataError: RDKit is not installed.
    """
    return _read(tuple(lines))


@lru_cache(maxsize=4)
def _read(lines: tuple[str, ...]) -> ReadMolecules:
    if len(lines) < _PART:
        return ReadMolecules(map(_one, lines))
    parts = [lines[i : i + _PART] for i in range(0, len(lines), _PART)]
    return ReadMolecules(one for found in read_parts(parts, place_of_part, read_part) for one in found)


def read_part(lines: tuple[str, ...]) -> list[ReadMolecule]:
    """What became of lines of a long file: from the cache, or read and put there."""
    return kept(lines, _one, ReadMolecule, rdkit_chem().rdBase.rdkitVersion)


def place_of_part(lines: tuple[str, ...]) -> Path:
    """The file of the cache in which that is kept."""
    return place_of(lines, ReadMolecule, rdkit_chem().rdBase.rdkitVersion)


def _one(line: str) -> ReadMolecule:
    Chem = rdkit_chem()
    words = line.split()
    if not words:
        return ReadMolecule(reason="empty")
    if ">" in words[0]:
        return ReadMolecule(reason="a reaction")
    mol = Chem.MolFromSmiles(words[0])
    if mol is None or not mol.GetNumAtoms():
        return ReadMolecule(reason="no molecule")
    parts = Chem.GetMolFrags(mol, asMols=True)
    mol = max(parts, key=lambda part: (part.GetNumHeavyAtoms(), Chem.MolToSmiles(part)))
    marked = Chem.MolToSmiles(mol)
    Chem.RemoveStereochemistry(mol)
    # read again, since without its marks a molecule may have another canonical form
    mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
    if mol is None:
        return ReadMolecule(reason="no molecule")
    smiles, kekulized = Chem.MolToSmiles(mol), Chem.Mol(mol)
    Chem.Kekulize(kekulized, clearAromaticFlags=True)
    outside = outside_alphabet(kekulized)
    if outside is not None:
        return ReadMolecule(reason=f"with {outside}")
    return ReadMolecule(
        smiles=smiles,
        size=2 * mol.GetNumBonds() + 2 - mol.GetNumAtoms(),  # of one component: atoms and twice the rings
        symbols=tuple(derivation(smiles)),
        is_salt=len(parts) > 1,
        had_stereo=marked != smiles,
    )
