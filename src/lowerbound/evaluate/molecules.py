"""How samples of molecules compare with test molecules, after MOSES (Polykovskiy et al. 2020, arXiv:1811.12823, §4).

    valid        the share of samples that RDKit reads
    unique@n     the share of different molecules among the first n valid ones, n = 1,000 (or all) and 10,000
    novelty      the share of different valid ones that are in no training row
    Frag, Scaf   the cosine of the counts of BRICS fragments, and of Bemis–Murcko scaffolds of two rings or more
    SNN          the mean over samples of the largest Tanimoto similarity to a test molecule (Morgan, radius 2)
    IntDiv       1 − the mean Tanimoto similarity of two samples
    distances    the Wasserstein distance of each property of `molecule_properties` between samples and test molecules,
                 20,000 of each at most, at equal distances

SNN rises with the number of test molecules and Scaf with both numbers, for molecules of one distribution too: compare
under the same numbers, and with what molecules of the training part score.

The Fréchet ChemNet distance is left out: the weights of its network are not part of this library. Novelty is high for
random molecules too; the distances tell. All molecules are compared without stereo marks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.errors import clipped
from lowerbound.evaluate.molecule_properties import PROPERTIES, properties_of
from lowerbound.nets.precision import multiplies_bf16

__all__ = ["TestMolecules", "molecule_scores"]

_BITS, _RADIUS, _FEWEST_RINGS = 1024, 2, 2
_UNIQUE = (1000, 10_000)
_MOST_OF_PROPERTIES = 20_000
_MOST_IN_BF16 = 256  # the largest number up to which bfloat16 has all whole ones
_BLOCK = 2048  # molecules on each side of a product


class TestMolecules:
    """Molecules that samples are compared with, looked at once however many samples there are.

    Arguments:
        smiles: of each.

    Raises:
        DataError: RDKit is not installed.
        ValueError: there are none, or one is no molecule.
    """

    __test__ = False  # no test of pytest

    def __init__(self, smiles: Sequence[str]):
        if not len(smiles):
            raise ValueError("TestMolecules got 0 molecules; give one at least.")
        self.smiles = tuple(smiles)
        mols = list(map(rdkit_chem().MolFromSmiles, self.smiles))
        for one, mol in zip(self.smiles, mols, strict=True):
            if mol is None or not mol.GetNumAtoms():
                raise ValueError(f"'{clipped(one)}' among the test molecules is no molecule; leave it out.")
        self.fragments, self.scaffolds, self.fingerprints = _fragments(mols), _scaffolds(mols), _fingerprints(mols)
        self.properties = {name: properties_of(_some(self.smiles), name) for name in PROPERTIES}


def molecule_scores(
    samples: Sequence[str], train: Collection[str], test: Sequence[str] | TestMolecules
) -> dict[str, float]:
    """The scores of samples.

    Arguments:
        samples: SMILES, some of which may be none.
        train: canonical SMILES of the training molecules.
        test: SMILES of test molecules, or these as `TestMolecules`.

    Returns:
        The scores by name; those of valid samples alone are missing if there are none.

    Raises:
        DataError: RDKit is not installed.
        ValueError: no samples or no test molecules, or one of these is no molecule.

    >>> found = molecule_scores(["CCO", "OCC", "C("], {"CCO"}, ["CCO"])
    >>> {name: round(found[name], 2) for name in ("valid", "novelty", "snn")}
    {'valid': 0.67, 'novelty': 0.0, 'snn': 1.0}
    """
    Chem = rdkit_chem()
    num_test = len(test.smiles if isinstance(test, TestMolecules) else test)
    if not len(samples) or not num_test:
        raise ValueError(
            f"molecule_scores got {len(samples)} samples and {num_test} test molecules; give one of each at least."
        )
    made = [mol for mol in map(Chem.MolFromSmiles, samples) if mol is not None and mol.GetNumAtoms()]
    found = {"valid": len(made) / len(samples)}
    if not made:
        return found
    names, real = (
        [Chem.MolToSmiles(mol) for mol in made],
        test if isinstance(test, TestMolecules) else TestMolecules(test),
    )
    for n in _UNIQUE:
        if len(names) >= n or n == _UNIQUE[0]:
            found[f"unique@{min(n, len(names))}"] = len(set(names[:n])) / len(names[:n])
    different = set(names)
    found["novelty"] = len(different - set(train)) / len(different)
    found["frag"] = _cosine(_fragments(made), real.fragments)
    found["scaf"] = _cosine(_scaffolds(made), real.scaffolds)
    ours = _fingerprints(made)
    found["snn"] = float(_similarities(ours, real.fingerprints)[0].mean())
    found["int_div"] = 1 - float(_similarities(ours, ours)[1].mean())
    return found | _distances(names, real)


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    norms = [sum(count**2 for count in one.values()) ** 0.5 for one in (a, b)]
    return sum(a[name] * b[name] for name in a) / (norms[0] * norms[1]) if all(norms) else 0.0


def _fragments(mols: Iterable[Any]) -> Counter[str]:
    """What is left where BRICS cuts."""
    from rdkit.Chem import BRICS

    Chem = rdkit_chem()
    return Counter(part for mol in mols for part in Chem.MolToSmiles(BRICS.BreakBRICSBonds(mol)).split("."))


def _scaffolds(mols: Iterable[Any]) -> Counter[str]:
    """Bemis–Murcko scaffolds of two rings or more."""
    from rdkit.Chem.Scaffolds import MurckoScaffold

    Chem = rdkit_chem()
    found = (MurckoScaffold.GetScaffoldForMol(mol) for mol in mols if mol.GetRingInfo().NumRings() >= _FEWEST_RINGS)
    return Counter(Chem.MolToSmiles(one) for one in found)


def _fingerprints(mols: Sequence[Any]) -> np.ndarray:
    """Which bits each molecule has: (N, 1024), 0 or 1."""
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
    bits = np.empty((len(mols), _BITS), dtype=np.uint8)
    for row, mol in zip(bits, mols, strict=True):
        row[:] = generator.GetFingerprintAsNumPy(mol)
    return bits


def _similarities(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the mean Tanimoto similarity of each of N molecules to M others: (N,) both.

    |a ∩ b| / (|a| + |b| − |a ∩ b|), where all |a ∩ b| are a product of matrices: in bfloat16 where that is exact and
    the processor has instructions for it.
    """
    a, b = torch.from_numpy(ours), torch.from_numpy(theirs)
    of_a, of_b = a.sum(1)[:, None], b.sum(1)
    is_exact = min(of_a.max(), of_b.max()) <= _MOST_IN_BF16
    kind = torch.bfloat16 if is_exact and multiplies_bf16() else torch.float32
    largest, total = torch.zeros(len(a)), torch.zeros(len(a), dtype=torch.float64)
    for j in range(0, len(b), _BLOCK):
        right = b[j : j + _BLOCK].to(kind)
        for rows in (slice(i, i + _BLOCK) for i in range(0, len(a), _BLOCK)):
            both = (a[rows].to(kind) @ right.T).float()
            similar = both / (of_a[rows] + of_b[j : j + _BLOCK] - both)
            largest[rows] = torch.maximum(largest[rows], similar.amax(1))
            total[rows] += similar.sum(1, dtype=torch.float64)
    return largest.numpy(), (total / len(b)).numpy()


def _distances(made: Sequence[str], real: TestMolecules) -> dict[str, float]:
    """Between the distributions of properties."""
    from scipy.stats import wasserstein_distance

    return {
        f"{name}_distance": float(wasserstein_distance(properties_of(_some(made), name), real.properties[name]))
        for name in PROPERTIES
    }


def _some(smiles: Sequence[str]) -> Sequence[str]:
    """At equal distances."""
    return smiles[:: -(-len(smiles) // _MOST_OF_PROPERTIES)]
