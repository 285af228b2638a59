"""Properties of molecules by RDKit.

logp     Crippen's octanol–water partition, a sum over atoms (Wildman & Crippen 1999)
qed      how much it looks like a drug, in [0, 1] (Bickerton et al. 2012)
sa       how hard it is to make, from 1 (easy) to 10 (Ertl & Schuffenhauer 2009)
weight   molecular weight, in daltons
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lowerbound.data.chemistry import rdkit_chem

__all__ = ["PROPERTIES", "properties_of"]

PROPERTIES = ("logp", "qed", "sa", "weight")


def properties_of(smiles: Sequence[str], name: str) -> np.ndarray:
    """A property of each molecule, float64 (N,).

    Raises:
        DataError: RDKit is not installed.
        ValueError: there is no such property, or one is no molecule.

    >>> properties_of(["CCO", "CCCCCC"], "weight").round(1)
    array([46.1, 86.2])
    """
    if name not in PROPERTIES:
        raise ValueError(f"property is {name[:40]!r}; choose one of {', '.join(PROPERTIES)}.")
    mols = [rdkit_chem().MolFromSmiles(one) for one in smiles]
    if None in mols:
        raise ValueError(f"{smiles[mols.index(None)][:60]!r} is no molecule and has no {name}; leave it out.")
    of = _function(name)
    return np.array([of(mol) for mol in mols], dtype=np.float64)


def _function(name: str) -> Callable[[Any], float]:
    from rdkit.Chem import QED, Crippen, Descriptors

    match name:
        case "logp":
            return Crippen.MolLogP  # type: ignore[attr-defined]
        case "qed":
            return QED.qed
        case "sa":
            from rdkit.Contrib.SA_Score import sascorer  # type: ignore[import-not-found]

            return sascorer.calculateScore
    return Descriptors.MolWt  # type: ignore[attr-defined]
