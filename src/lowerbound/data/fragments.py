"""The symbols of molecules by number: the end, joined rings, the alphabet of atoms, and the fragments of a fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from lowerbound.data.atoms import alphabet
from lowerbound.data.derivations import all_derivations, assemble, derivation, is_fragment
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.points import points_of
from lowerbound.data.schema import MoleculeSchema
from lowerbound.data.smiles import ReadMolecule
from lowerbound.data.tokens import END

__all__ = ["NUM_RINGS", "all_rows_of", "first_of_points", "molecules_of", "numbered_molecules", "symbols_of"]

NUM_RINGS = 32  # how deep below the next point an open point may be joined to it
_UNUSED = "?"
_LEAST_COUNT, _MOST_FRAGMENTS = 2, 2000


def symbols_of(counts: Counter[str], size: int | None, what: str) -> tuple[str, ...]:
    """The symbols by number.

    Arguments:
        counts: how often each fragment occurs in training molecules.
        size: how many fragments of several atoms are known; None for those that occur twice, 2,000 at most.
        what: the name of the molecules in messages.

    Raises:
        DataError: more are asked for than there are.
    """
    atoms = alphabet()
    several = Counter({symbol: count for symbol, count in counts.items() if not points_of(symbol).is_atom})
    if size is not None and size > len(several):
        raise DataError(
            f"molecules got vocabulary={size} and the training part of {what} has {len(several):,} fragments; take at "
            "most that, or leave it out."
        )
    least = 1 if size is not None else _LEAST_COUNT
    ordered = sorted(several, key=lambda symbol: (-several[symbol], symbol))
    known = [symbol for symbol in ordered if several[symbol] >= least][: _MOST_FRAGMENTS if size is None else size]
    rings = [f"&{j + 1}" for j in range(NUM_RINGS)]
    # in the order of their points, which keeps the words of a likelihood short
    return ("", _UNUSED, *rings, *sorted([*atoms, *known], key=lambda symbol: (points_of(symbol), symbol)))


def first_of_points(symbols: Sequence[str]) -> int:
    """The number of the first symbol that is no end and joins no ring."""
    return next(k for k, symbol in enumerate(symbols) if symbol not in ("", _UNUSED) and is_fragment(symbol))


def numbered_molecules(read: Iterable[ReadMolecule], schema: MoleculeSchema, length: int) -> np.ndarray:
    """The rows (N, length) of molecules, int32: the symbols of their derivations, and then the end.

    Raises:
        DataError: a molecule that takes `length` symbols or more, or has a ring beyond what can be joined.
    """
    numbers = {symbol: k for k, symbol in enumerate(schema.symbols) if k != END}
    known = numbers.keys()
    found = [
        one.symbols if known >= set(one.symbols) else derivation(one.smiles, known, rings=schema.rings) for one in read
    ]
    rows = np.full((len(found), length), END, dtype=np.int32)
    for row, symbols in zip(rows, found, strict=True):
        missing = [symbol for symbol in symbols if symbol not in numbers]
        if missing or len(symbols) >= length:
            why = f"holds {missing[0]!r}, which the model lacks" if missing else f"has more than {length - 1} parts"
            raise DataError(f"the molecule {clipped(assemble(symbols))} {why}; leave it out.")
        row[: len(symbols)] = [numbers[symbol] for symbol in symbols]
    return rows


def molecules_of(rows: np.ndarray, schema: MoleculeSchema) -> list[str]:
    """The canonical SMILES of rows (N, T) of symbols."""
    found = []
    for row in np.asarray(rows).astype(np.int64).tolist():
        end = row.index(END) if END in row else len(row)
        found.append(assemble([schema.symbols[k] for k in row[:end]]))
    return found


def all_rows_of(smiles: str, schema: MoleculeSchema, length: int, *, most: int = 64) -> np.ndarray:
    """The rows (M, length) that differ from that of a molecule by the symmetry of its symbols alone, itself the first.

    Arguments:
        smiles: canonical, of a molecule that fits in a row.
        schema: of the model, with its symbols.
        length: of a row.
        most: of the rows (`derivations.all_derivations`).
    """
    numbers = {symbol: k for k, symbol in enumerate(schema.symbols) if k != END}
    found = all_derivations(smiles, numbers.keys(), most=most, rings=schema.rings)
    rows = np.full((len(found), length), END, dtype=np.int32)
    for row, symbols in zip(rows, found, strict=True):
        row[: len(symbols)] = [numbers[symbol] for symbol in symbols]
    return rows
