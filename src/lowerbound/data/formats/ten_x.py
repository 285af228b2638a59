"""A folder as Cell Ranger of 10x Genomics writes it: matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv, each
also .gz.

The matrix is (genes, cells) in the coordinate format of Matrix Market. Of features with a third column only those of
"Gene Expression" are taken. A symbol that two genes share is told apart by the identifier, as "SYMBOL (ID)".
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from lowerbound.data.annotated import counts_of
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.memory import check_memory

__all__ = ["is_10x", "read_10x"]

_BROKEN = (OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error)
_GENES = "Gene Expression"


def is_10x(path: Path) -> bool:
    """Whether a folder holds the matrix of one."""
    return _found(path, "matrix.mtx") is not None


def read_10x(path: Path, label: str | None) -> Contents:
    """Read the counts of cells.

    Raises:
        DataError: a file is missing or unreadable, they do not fit together, or a label is asked for.
    """
    name = clipped(path.name)
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given and the 10x folder '{name}' has none; drop it.")
    matrix = _matrix(_required(path, name, "matrix.mtx"), name)
    features = _lines(_required(path, name, "features.tsv", "genes.tsv"))
    cells = _lines(_required(path, name, "barcodes.tsv"))
    if matrix.shape != (len(features), len(cells)):
        raise DataError(
            f"the matrix of '{name}' is {matrix.shape[0]} x {matrix.shape[1]} and there are {len(features)} features "
            f"and {len(cells)} barcodes; give the three files of one run."
        )
    kept = [i for i, words in enumerate(features) if len(words) < 3 or words[2] == _GENES]
    genes, notes = _genes([features[i] for i in kept], name)
    if len(kept) < len(features):
        notes += (f"Left out: {len(features) - len(kept)} features of {name} that are not of '{_GENES}'.",)
    found = counts_of(matrix.T.tocsr()[:, kept], genes, what=f"the matrix of {name}", container="10x")
    return replace(found, notes=(*found.notes, *notes), row_names=tuple(words[0] for words in cells))


def _genes(features: list[list[str]], name: str) -> tuple[list[str], tuple[str, ...]]:
    """A name for each gene, and a note if symbols alone did not tell them apart."""
    symbols = [words[min(1, len(words) - 1)] for words in features]
    shared = {symbol for symbol, count in Counter(symbols).items() if count > 1}
    pairs = zip(symbols, features, strict=True)
    names = [f"{symbol} ({words[0]})" if symbol in shared else symbol for symbol, words in pairs]
    note = f"Symbols of several genes of {name} are followed by the identifier ({len(shared)} symbols)."
    return names, (note,) if shared else ()


def _matrix(path: Path, name: str) -> Any:
    import scipy.io

    try:
        rows, columns, entries, layout, _, _ = scipy.io.mminfo(path)
        if layout != "coordinate":
            raise DataError(f"the matrix of '{name}' is not in coordinates; expected a 10x folder: save it again.")
        check_memory((entries,), 24, f"the matrix of {name}")
        check_memory((rows + columns,), 8, f"the matrix of {name}")
        matrix: Any = scipy.io.mmread(path)
        return matrix.tocsc()
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(f"'{clipped(path.name)}' of '{name}' is not a readable matrix; get it again.") from error


def _lines(path: Path) -> list[list[str]]:
    """The words of each line, between tabs."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except _BROKEN as error:
        raise DataError(f"'{clipped(path.name)}' is not a readable table of names; get it again.") from error
    return [line.split("\t") for line in text.splitlines()]


def _found(path: Path, *names: str) -> Path | None:
    files = [path / f"{name}{end}" for name in names for end in ("", ".gz")]
    return next((file for file in files if file.is_file()), None)


def _required(path: Path, name: str, *names: str) -> Path:
    found = _found(path, *names)
    if found is None:
        raise DataError(f"the 10x folder '{name}' has no {' or '.join(names)} (or .gz); give the three files of a run.")
    return found
