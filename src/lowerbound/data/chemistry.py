"""RDKit, imported where molecules are read or drawn and nowhere else; training does without it."""

from __future__ import annotations

from functools import cache
from typing import Any

from lowerbound.data.errors import DataError

__all__ = ["rdkit_chem"]


@cache
def rdkit_chem() -> Any:
    """The module `rdkit.Chem`, without the messages that RDKit prints on its own.

    Raises:
        DataError: it is not installed.
    """
    try:
        from rdkit import Chem, RDLogger
    except ModuleNotFoundError:
        raise DataError(
            "molecules are read and drawn by RDKit, which is not installed; run pip install 'lowerbound[molecules]'."
        ) from None
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    return Chem
