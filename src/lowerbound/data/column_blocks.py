"""Blocks: groups of columns of a table, each a modality of its own, such as the genes and the proteins of a cell.

    "rna=gene_*;protein=adt_*"          names of columns, or patterns in which * stands for any letters
    "image=0-783;label=784"             numbers of columns, where they have no names

`numbered_blocks` turns the first into the second, which a plan keeps. A block is missing in a row where every entry of
it is. Arrays of an archive that were read together (`array="image,label"`) are blocks without a word said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from lowerbound.data.blocks import row_blocks
from lowerbound.data.errors import DataError, clipped, nearest
from lowerbound.data.joined_matrices import columns_of_matrices
from lowerbound.data.sparse import Array

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = [
    "check_blocks_of_rows",
    "columns_of_blocks",
    "likelihoods_of_blocks",
    "named_parts",
    "numbered_blocks",
    "present_blocks",
    "spelled_blocks",
]

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_MOST_NUMBERS = 10**6


def named_parts(words: str, what: str) -> dict[str, str]:
    """Split "name=value;name=value".

    >>> named_parts("image=bernoulli;label=mixed:columns=categorical-10", "likelihoods")
    {'image': 'bernoulli', 'label': 'mixed:columns=categorical-10'}

    Raises:
        ValueError: a part without a name or a value, or a name given twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in words.split(";"))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ValueError(f"{what} holds {clipped(part, 40)!r}; write each as NAME=WORDS, with ; between them.")
        if name in found:
            raise ValueError(f"{what} names '{clipped(name, 40)}' twice; give it once.")
        found[name] = value
    if not found:
        raise ValueError(f"{what} names nothing; write NAME=WORDS, with ; between them.")
    return found


def columns_of_blocks(blocks: str, num_columns: int) -> dict[str, tuple[int, ...]]:
    """The numbers of the columns of each block.

    >>> columns_of_blocks("a=0-1,3;b=2", 4)
    {'a': (0, 1, 3), 'b': (2,)}

    Raises:
        ValueError: what is no number of a column, or a column in no block or in two.
    """
    found = {name: _numbers(words, name, num_columns) for name, words in named_parts(blocks, "blocks").items()}
    _check_each_once(found, [str(i) for i in range(num_columns)])
    return found


def spelled_blocks(columns: Mapping[str, Sequence[int]]) -> str:
    """What `columns_of_blocks` takes apart.

    >>> spelled_blocks({"a": (0, 1, 3), "b": (2,)})
    'a=0-1,3;b=2'
    """
    return ";".join(f"{name}={_ranges(numbers)}" for name, numbers in columns.items())


def numbered_blocks(dataset: Dataset, blocks: str | None) -> str:
    """The blocks of a table with numbers in place of names; those of the arrays of an archive if none are said.

    Raises:
        DataError: data that are no table, a pattern that fits no column, or a column in no block or in two.
    """
    names = dataset.schema.column_names
    if names is None:
        raise DataError(
            f"{clipped(dataset.name)} is of kind {dataset.kind} and blocks are columns of a table; give a table, or an "
            ".npz file with an array for each block (--array image,label)."
        )
    if blocks is None:
        found = _of_arrays(dataset, names)
    else:
        found = {name: _matching(words, name, names) for name, words in named_parts(blocks, "blocks").items()}
    _check_each_once(found, names)
    check_blocks_of_rows(dataset.x_train, found, dataset.name, dataset.train_rows, dataset.train_numbers)
    check_blocks_of_rows(dataset.x_test, found, dataset.name, None, dataset.test_rows)
    return spelled_blocks(found)


def likelihoods_of_blocks(dataset: Dataset, blocks: str) -> str:
    """The likelihood of each block: Bernoulli where every column holds 0 and 1 and gaps are those of whole blocks, else
    one that is spelled column by column.
    """
    from lowerbound.data.kinds.table import mixed_spelling

    columns = dataset.schema.columns
    assert columns is not None
    words = []
    for name, numbers in columns_of_blocks(blocks, len(columns)).items():
        of_block = [columns[i] for i in numbers]
        binary = all(column.kind == "boolean" for column in of_block) and _all_or_nothing(dataset, numbers)
        words.append(f"{name}={'bernoulli' if binary else mixed_spelling(of_block)}")
    return ";".join(words)


def present_blocks(x: np.ndarray, columns: Mapping[str, Sequence[int]]) -> Bool[np.ndarray, "row block"]:
    """Whether any entry of a block is there, in each row (N, D)."""
    seen = ~np.isnan(x) if x.dtype.kind == "f" else np.ones(x.shape, dtype=bool)
    return np.stack([seen[:, list(numbers)].any(1) for numbers in columns.values()], 1)


def check_blocks_of_rows(
    x: Array,
    columns: Mapping[str, Sequence[int]],
    what: str,
    rows: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
) -> None:
    """Refuse a row in which every block is missing.

    Arguments:
        x: rows (N, D).
        columns: of each block.
        what: the name of the data.
        rows: those of x that are looked at; all if None.
        numbers: of these rows in the user's data, if they are others.

    Raises:
        DataError: giving its number.
    """
    for start, block in row_blocks(x, rows):
        empty = ~present_blocks(np.asarray(block), columns).any(1)
        if empty.any():
            place = start + int(np.flatnonzero(empty)[0])
            row = place if numbers is None else int(numbers[place])
            raise DataError(f"row {row} of {what} lacks every block ({', '.join(columns)}); leave such rows out.")


def _all_or_nothing(dataset: Dataset, numbers: Sequence[int]) -> bool:
    """Whether every row has all entries of a block, or none."""
    for x, rows in ((dataset.x_train, dataset.train_rows), (dataset.x_test, None)):
        for _, block in row_blocks(x, rows):
            gap = np.isnan(np.asarray(block)[:, list(numbers)])
            if (gap.any(1) != gap.all(1)).any():
                return False
    return True


def _of_arrays(dataset: Dataset, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The columns of each array that was read by name."""
    arrays = (dataset.schema.array or "").split(",")
    if len(arrays) < 2:
        raise DataError(
            f"{clipped(dataset.name)} has {len(names)} columns and no blocks were said; say which columns are which "
            'block with blocks="rna=gene_*;protein=adt_*" (--blocks).'
        )
    if dataset.schema.container in ("h5ad", "anndata"):  # genes, which have names of their own, before other matrices
        return columns_of_matrices(arrays, names)
    return {
        array: tuple(i for i, name in enumerate(names) if re.fullmatch(rf"{re.escape(array)}(_\d+)?", name))
        for array in arrays
    }


def _matching(words: str, block: str, names: Sequence[str]) -> tuple[int, ...]:
    """The columns that the words of a block fit, in their order in the table."""
    found: set[int] = set()
    for word in (word.strip() for word in words.split(",")):
        fitting = [i for i, name in enumerate(names) if name == word] or [
            i for i, name in enumerate(names) if fnmatchcase(name, word)
        ]
        if not fitting and _RANGE.fullmatch(word):
            fitting = list(_numbers(word, block, len(names)))
        if not fitting:
            near = ", ".join(repr(clipped(name, 30)) for name in nearest(word.strip("*"), list(names)))
            raise DataError(
                f"block '{clipped(block, 40)}' names {clipped(word, 40)!r}, which fits no column of the data; the "
                f"nearest are {near}."
            )
        found.update(fitting)
    return tuple(sorted(found))


def _numbers(words: str, block: str, num_columns: int) -> tuple[int, ...]:
    found: list[int] = []
    for word in words.split(","):
        ends = _RANGE.fullmatch(word.strip())
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, -1)
        if not first <= last < min(num_columns, _MOST_NUMBERS):
            raise ValueError(
                f"block '{clipped(block, 40)}' has the columns {clipped(word, 40)!r}; expected numbers such as 0-3 of "
                f"{num_columns} columns."
            )
        found += range(first, last + 1)
    return tuple(found)


def _check_each_once(columns: Mapping[str, Sequence[int]], names: Sequence[str]) -> None:
    """Refuse a column in two blocks or in none, and a block without columns."""
    empty = next((block for block, numbers in columns.items() if not numbers), None)
    if empty is not None:
        raise DataError(f"block '{clipped(empty, 40)}' has no column that varies; leave it out.")
    seen: dict[int, str] = {}
    for block, numbers in columns.items():
        for i in numbers:
            if i in seen:
                raise DataError(
                    f"column '{clipped(names[i], 40)}' is in the blocks '{clipped(seen[i], 40)}' and "
                    f"'{clipped(block, 40)}'; name it in one."
                )
            seen[i] = block
    left = [name for i, name in enumerate(names) if i not in seen]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise DataError(
            f"column '{clipped(left[0], 40)}'{more} is in no block; name it in one, or leave it out of the data with "
            f"columns={{'{clipped(left[0], 30)}': 'drop'}} (--columns NAME=drop)."
        )


def _ranges(numbers: Sequence[int]) -> str:
    breaks = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    runs = [numbers[a:b] for a, b in zip([0, *breaks], [*breaks, len(numbers)], strict=True)]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
