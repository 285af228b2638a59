"""Several matrices of the same cells as one: genes, and what else was counted, such as the proteins in `obsm`.

"X,protein" names X and the matrix obsm["protein"]. The columns of the latter are called protein_NAME, or protein_0,
protein_1, … where they have no names; genes keep theirs. Each matrix is a block of a multimodal model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lowerbound.data.errors import DataError, clipped

__all__ = ["check_key", "columns_of_matrices", "joined_matrices", "layer_and_keys", "matrix_of_frame"]


def layer_and_keys(array: str | None) -> tuple[str | None, list[str]]:
    """The layer, and the keys of `obsm` after it.

    >>> layer_and_keys("X,protein")
    ('X', ['protein'])

    Raises:
        DataError: a name that is empty or said twice.
    """
    names = [] if array is None else [name.strip() for name in array.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise DataError(f"array is {clipped(array or '', 40)!r}; name each matrix once, as in 'X,protein'.")
    return (names[0], names[1:]) if names else (None, [])


def check_key(key: str, obsm: Mapping[str, Any], name: str) -> Any:
    """The matrix of a key.

    Raises:
        DataError: there is none.
    """
    if key not in obsm:
        known = ", ".join(f"'{clipped(str(one), 20)}'" for one in list(obsm)[:4]) or "nothing"
        raise DataError(f"obsm of {name} has no '{clipped(key, 30)}' but {known}; name a matrix of counts in it.")
    return obsm[key]


def matrix_of_frame(held: Any) -> tuple[Any, list[str] | None]:
    """A matrix of an AnnData object and the names of its columns, which a DataFrame has."""
    return (held.to_numpy(), list(map(str, held.columns))) if hasattr(held, "iloc") else (held, None)


def joined_matrices(
    matrix: Any, genes: Sequence[Any], others: Mapping[str, tuple[Any, Sequence[str] | None]]
) -> tuple[Any, list[str]]:
    """The columns of all matrices after each other, and their names; sparse if the first matrix is.

    Raises:
        DataError: a matrix of another number of cells or axes, or a gene that is named like a column of another matrix.
    """
    if not others:
        return matrix, [str(gene) for gene in genes]
    import scipy.sparse

    names, parts = [str(gene) for gene in genes], [matrix]
    for key, (other, columns) in others.items():
        if len(getattr(other, "shape", ())) != 2 or other.shape[0] != matrix.shape[0]:
            raise DataError(
                f"obsm['{clipped(key, 30)}'] has shape {getattr(other, 'shape', ())} and there are "
                f"{matrix.shape[0]:,} cells; give a row of counts for each."
            )
        likely = next((name for name in names if name.startswith(f"{key}_")), None)
        if likely is not None:
            raise DataError(
                f"'{clipped(likely)}' begins like the columns of obsm['{clipped(key, 30)}']; rename that matrix."
            )
        names += [f"{key}_{name}" for name in (range(other.shape[1]) if columns is None else columns)]
        parts.append(other)
    if scipy.sparse.issparse(matrix):
        return scipy.sparse.hstack([scipy.sparse.csr_matrix(part) for part in parts]).tocsr(), names
    dense = [part.toarray() if scipy.sparse.issparse(part) else np.asarray(part) for part in parts]
    return np.concatenate(dense, 1), names


def columns_of_matrices(arrays: Sequence[str], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The numbers of the columns of each matrix, by their names.

    >>> columns_of_matrices(["X", "protein"], ["CD3D", "CD8A", "protein_CD3"])
    {'X': (0, 1), 'protein': (2,)}
    """
    found: dict[str, list[int]] = {array: [] for array in arrays}
    for i, name in enumerate(names):
        owner = next((array for array in arrays[1:] if name.startswith(f"{array}_")), arrays[0])
        found[owner].append(i)
    return {array: tuple(numbers) for array, numbers in found.items()}
