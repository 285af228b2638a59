"""Pictures of molecules in rows, drawn by RDKit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowerbound.data.chemistry import rdkit_chem

__all__ = ["molecule_png", "molecule_svg"]

_WIDTH, _HEIGHT = 220, 170


def molecule_png(smiles: Sequence[str], per_row: int = 5) -> bytes:
    """A picture of molecules with their SMILES, as a PNG file.

    Raises:
        DataError: RDKit is not installed.
        ValueError: one is no molecule, or there is none.
    """
    rdkit_chem()
    from rdkit.Chem.Draw import rdMolDraw2D

    return _drawn(rdMolDraw2D.MolDraw2DCairo, smiles, per_row, smiles)


def molecule_svg(smiles: Sequence[str], per_row: int = 5, *, with_smiles: bool = True) -> str:
    """The same as an element of a page, if wanted without their SMILES. Errors are those of `molecule_png`.

    >>> molecule_svg(["CCO"])[:4]
    '<svg'
    """
    rdkit_chem()
    from rdkit.Chem.Draw import rdMolDraw2D

    drawn = _drawn(rdMolDraw2D.MolDraw2DSVG, smiles, per_row, smiles if with_smiles else ())
    return drawn[drawn.index("<svg") :]


def _drawn(canvas_class: Any, smiles: Sequence[str], per_row: int, legends: Sequence[str]) -> Any:
    Chem = rdkit_chem()
    mols = [Chem.MolFromSmiles(one) for one in smiles]
    if not mols or None in mols:
        raise ValueError(
            f"A picture got {len(mols)} SMILES, {mols.count(None)} of which are no molecules; give others."
        )
    columns, rows = min(per_row, len(mols)), -(-len(mols) // per_row)
    canvas = canvas_class(columns * _WIDTH, rows * _HEIGHT, _WIDTH, _HEIGHT)
    canvas.DrawMolecules(mols, legends=list(legends) or None)
    canvas.FinishDrawing()
    return canvas.GetDrawingText()
