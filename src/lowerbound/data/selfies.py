"""SELFIES: symbols of a molecule of which every list says a molecule (Krenn et al. 2020, arXiv:1905.13741).

A list that asks for more bonds than an atom has is read with those that there are, and what cannot be read is passed
over. So lists need no grammar, and several say one molecule. The library `selfies` is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.errors import DataError

__all__ = ["selfies_of", "smiles_of"]


@cache
def _library() -> Any:
    """The module `selfies`.

    Raises:
        DataError: it is not installed.
    """
    try:
        import selfies  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise DataError(
            "SELFIES are written by the library selfies, which is not installed; run pip install "
            "'lowerbound[molecules]', or take kind='molecules'."
        ) from None
    return selfies


def selfies_of(line: str) -> list[str]:
    """The symbols of the SMILES that is the first word of a line; none if it is no molecule."""
    library, words = _library(), line.split()
    if not words or rdkit_chem().MolFromSmiles(words[0]) is None:
        return []
    try:
        return list(library.split_selfies(library.encoder(words[0])))
    except library.EncoderError:
        return []


def smiles_of(symbols: Iterable[str]) -> str:
    """The canonical SMILES of a list of symbols; "" if all of them are passed over."""
    Chem, written = rdkit_chem(), _library().decoder("".join(symbols))
    mol = Chem.MolFromSmiles(written)
    return written if mol is None else Chem.MolToSmiles(mol)
