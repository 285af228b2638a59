"""Lines of SMILES read as molecules: canonical, without stereo marks, the largest component of a salt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lowerbound.data.atoms import outside_alphabet
from lowerbound.data.chemistry import rdkit_chem

__all__ = ["MoleculeOptions", "ReadMolecules", "read_molecules"]


@dataclass(frozen=True, kw_only=True)
class MoleculeOptions:
    """What a user says about molecules.

    Attributes:
        longest: the most atoms of a molecule, where each ring counts as two; larger ones are left out and counted.
        vocabulary: how many fragments are known, the most frequent ones; others are written by atoms.
    """

    longest: int | None = None
    vocabulary: int | None = None


@dataclass(frozen=True)
class ReadMolecules:
    """What became of some lines.

    Attributes:
        smiles: canonical SMILES of each; "" where there is none.
        sizes: atoms and twice the rings, which is the most room that it can take: a symbol that joins a ring fills two
            points.
        reasons: why there is none, in words; "" where there is one.
        num_salts: how many lines had several components, of which the largest was kept.
        num_stereo: how many had stereo marks, which were dropped.
    """

    smiles: tuple[str, ...]
    sizes: tuple[int, ...]
    reasons: tuple[str, ...]
    num_salts: int
    num_stereo: int


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
    found = [_one(line) for line in lines]
    return ReadMolecules(
        smiles=tuple(one[0] for one in found),
        sizes=tuple(one[1] for one in found),
        reasons=tuple(one[2] for one in found),
        num_salts=sum(one[3] for one in found),
        num_stereo=sum(one[4] for one in found),
    )


def _one(line: str) -> tuple[str, int, str, bool, bool]:
    """Canonical SMILES, size, reason, whether it is a salt, whether it had stereo marks."""
    Chem = rdkit_chem()
    words = line.split()
    if not words:
        return "", 0, "empty", False, False
    mol = Chem.MolFromSmiles(words[0])
    if mol is None or not mol.GetNumAtoms():
        return "", 0, "no molecule", False, False
    parts = Chem.GetMolFrags(mol, asMols=True)
    mol = max(parts, key=lambda part: (part.GetNumHeavyAtoms(), Chem.MolToSmiles(part)))
    marked = Chem.MolToSmiles(mol)
    Chem.RemoveStereochemistry(mol)
    # read again, since without its marks a molecule may have another canonical form
    mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
    if mol is None:
        return "", 0, "no molecule", False, False
    smiles, kekulized = Chem.MolToSmiles(mol), Chem.Mol(mol)
    Chem.Kekulize(kekulized, clearAromaticFlags=True)
    outside = outside_alphabet(kekulized)
    size = 2 * mol.GetNumBonds() + 2 - mol.GetNumAtoms()  # of one component: atoms and twice the rings
    if outside is not None:
        return "", size, f"with {outside}", False, False
    return smiles, size, "", len(parts) > 1, marked != smiles
