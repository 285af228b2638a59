"""Molecules: SMILES, read as derivations by fragments and atoms (`data.derivations`).

A row is the numbers of the symbols of a molecule and then the end. What cannot be written is left out, counted and
said: lines that are no SMILES, other elements, isotopes, radicals, and molecules of more than 150 atoms, where a ring
counts as two. Whether a molecule can be written does not depend on the training data. Where the user says
"molecules:rings=true", unknown ring systems are taken apart at their single bonds before they are written by atoms.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lowerbound.data.contents import Contents, Given
from lowerbound.data.derivations import atoms_of_points, parts_of_rings
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.fragments import first_of_points, molecules_of, numbered_molecules, symbols_of
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.kinds.strings import (
    are_texts,
    as_they_came,
    column_of_strings,
    keep_rows,
    other_columns,
    rows_of_symbols,
    strings_of,
    training_part,
    untransformed,
)
from lowerbound.data.overrides import Overrides
from lowerbound.data.points import points_of, spelled_points
from lowerbound.data.schema import MoleculeSchema, Schema
from lowerbound.data.smiles import ReadMolecules, read_molecules
from lowerbound.data.sparse import Array
from lowerbound.data.transform import Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Molecules"]

_LARGEST = 150


class Molecules:
    """Small molecules."""

    name = "molecules"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """A .smi file, or a table one of whose columns is said to be of molecules."""
        return contents.container == "smi" or "molecule" in overrides.columns.values()

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """The fragments of the training part, and the size of the largest molecule.

        Raises:
            DataError: no molecules, no column of them, limits that leave nothing, or RDKit is not installed.
        """
        column = None
        if not are_texts(contents.x):
            column = column_of_strings(contents.x, overrides, contents.what, "molecule")
        read, asked = read_molecules(strings_of(contents.x, column, contents.what, "molecule")), overrides.molecules
        largest = asked.longest or min(max((one.size for one in read), default=0), _LARGEST)
        kept = [one.symbols for one in read if one.smiles and one.size <= largest]
        if len(kept) < 2:
            raise DataError(
                f"{contents.what} has {len(kept)} usable molecule{'s' * (len(kept) != 1)} in {len(read):,} "
                f"line{'s' * (len(read) != 1)}{_example(contents, column, read)}; a model is fitted to at "
                "least two: give SMILES, one a line."
            )
        found = training_part(kept, contents)
        counts = Counter(symbol for symbols in found for symbol in symbols)
        if asked.rings:
            smiles = training_part([one.smiles for one in read if one.smiles and one.size <= largest], contents)
            frequent = {symbol for symbol, count in counts.items() if count > 1}
            some = (one for one, symbols in zip(smiles, found, strict=True) if not frequent >= set(symbols))
            counts.update(symbol for one in some for symbol in parts_of_rings(one, frequent))
        symbols = symbols_of(counts, asked.vocabulary, contents.what)
        known = set(symbols)
        return Schema(
            kind=self.name,
            event_shape=(largest + 1,),
            container=contents.container,
            dtype="str",
            left_out=other_columns(contents, column, "no molecules"),
            molecules=MoleculeSchema(
                symbols=symbols,
                column=column,
                num_molecules=len(found),
                num_by_atoms=sum(any(symbol not in known for symbol in one) for one in found),
                rings=asked.rings,
            ),
        )

    def rows(self, given: Given, schema: Schema, what: str) -> Array:
        """The numbers of the symbols (N, largest + 1), int32. Rows of numbers are taken as they are.

        Raises:
            DataError: what is no molecule or cannot be written, or numbers that are none of the symbols.
        """
        of = _molecules_of(schema)
        rows = rows_of_symbols(given, schema, len(of.symbols), what, "SMILES")
        if rows is not None:
            return rows
        lines = strings_of(given, of.column, what, "molecule")
        read = read_molecules(lines)
        bad = read.first_without
        if bad is not None:
            raise DataError(f"'{clipped(lines[bad])}' in row {bad} of {what} is {read[bad].why}; leave it out.")
        return numbered_molecules(read, of, schema.event_shape[0])

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """The numbers of symbols as they are.

        Raises:
            DataError: a likelihood of something else, to which the numbers of symbols mean nothing.
        """
        return untransformed(facts, dataset.name, "holds molecules", "molecule-vae")

    def default_likelihood(self, schema: Schema) -> str:
        """Tokens of those symbols, with the grammar of their points."""
        symbols, rings = _molecules_of(schema).symbols, _molecules_of(schema).rings
        words = spelled_points(symbols[first_of_points(symbols) :], atoms_of_points if rings else None)
        return f"tokens:num_symbols={len(symbols)},points={words}"

    def describe(self, schema: Schema) -> list[str]:
        """The fragments, the limit, and how many training molecules need the path by atoms."""
        of = _molecules_of(schema)
        atoms = [points_of(symbol).is_atom for symbol in of.symbols[first_of_points(of.symbols) :]]
        share = of.num_by_atoms / max(1, of.num_molecules)
        lines = [
            f"Molecules of at most {schema.event_shape[0] - 1} atoms, a ring counted as two, written by "
            f"{atoms.count(False):,} fragments and {atoms.count(True):,} atoms.",
            f"  Of the {of.num_molecules:,} to train on, {share:.1%} hold a fragment that is written by atoms.",
        ]
        if schema.left_out:
            lines.append(f"  left out: {', '.join(item.name for item in schema.left_out[:8])} (no molecules)")
        return lines

    def render(self, x: np.ndarray, schema: Schema) -> Any:
        """Canonical SMILES of each row: a list, or a DataFrame where they were a column of a table."""
        of = _molecules_of(schema)
        return as_they_came(molecules_of(x, of), of.column, schema.container)

    def usable(self, contents: Contents, schema: Schema, *, refuse: bool) -> tuple[Contents, np.ndarray | None]:
        """The contents without what cannot be written, and which of the rows these are.

        Arguments:
            contents: as a reader found them.
            schema: of molecules; of rows of numbers nothing is left out.
            refuse: whether to refuse them instead, where results have to be as many as the rows given.

        Returns:
            The contents, with a remark that counts what was left out, and notes of what was changed; the rows that are
            left, or None for all.

        Raises:
            DataError: nothing is left, or `refuse` and something would be left out.
        """
        x, of = contents.x, _molecules_of(schema)
        if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
            return contents, None
        lines = strings_of(x, of.column, contents.what, "molecule")
        read = read_molecules(lines)
        largest = schema.event_shape[0] - 1
        reasons = [
            one.reason or ("" if one.size <= largest else f"of more than {largest} atoms, a ring counted as two")
            for one in read
        ]
        noted = replace(contents, notes=(*contents.notes, *_changed(read, contents.what)))
        bad = np.array([bool(reason) for reason in reasons], dtype=bool)
        counts = Counter(reason for reason in reasons if reason).most_common()
        listed = ", ".join(f"{n:,} {reason}" for reason, n in counts[:4])
        listed += f", {sum(n for _, n in counts[4:]):,} others" if counts[4:] else ""
        said = f"{bad.sum():,} of the {len(bad):,} lines of {contents.what} ({listed})"
        return keep_rows(noted, lines, bad, said, "written", refuse=refuse)

    def notes(self, x: Array, schema: Schema, what: str) -> tuple[str, ...]:
        """None: what was changed is said by `usable`."""
        return ()

    def in_both(self, train: Array, test: np.ndarray, what: str) -> tuple[str, ...]:
        """A sentence if some test molecules are among those to train on, as they are read."""
        known = {row.tobytes() for row in train} if isinstance(train, np.ndarray) else set()
        count = sum(row.tobytes() in known for row in test)
        if not count:
            return ()
        return (
            f"{count:,} of the {len(test):,} molecules to test on of {what} are among those to train on, by their "
            "canonical SMILES without stereo marks; their scores tell nothing about new ones: give each molecule once.",
        )


def _molecules_of(schema: Schema) -> MoleculeSchema:
    assert schema.molecules is not None
    return schema.molecules


def _changed(read: ReadMolecules, what: str) -> tuple[str, ...]:
    """Sentences on what was changed in reading."""
    notes = []
    salts, stereo = sum(one.is_salt for one in read), sum(one.had_stereo for one in read)
    if salts:
        notes.append(f"Of {salts:,} lines of {what} with several components the largest was kept.")
    if stereo:
        notes.append(f"Stereo marks of {stereo:,} molecules of {what} were dropped.")
    return tuple(notes)


def _example(contents: Contents, column: str | None, read: ReadMolecules) -> str:
    """The first line that is none, for a message."""
    bad = read.first_without
    if bad is None:
        return ""
    line = strings_of(contents.x, column, contents.what, "molecule")[bad]
    return f" ('{clipped(line, 30)}' is {read[bad].why})"
