"""Counts of genes in cells: a matrix, dense or sparse, with names of its columns, as AnnData and 10x folders hold it.

Rows are cells and columns are genes. The matrix must hold counts, because log-transformed or scaled values look like
them to nobody but a likelihood. An AnnData object is known by what it has (`X`, `layers`, `obs`, `var_names`), so that
`anndata` is not needed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lowerbound.data.checks import check_column, check_numeric
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.joined_matrices import check_key, joined_matrices, layer_and_keys, matrix_of_frame
from lowerbound.data.memory import check_memory
from lowerbound.data.on_disk import OnDisk, Store
from lowerbound.data.schema import Schema
from lowerbound.data.shards.compressed_rows import CompressedRows, StoredRows
from lowerbound.data.sparse import SparseRows, keeps_sparse

__all__ = [
    "ANNOTATED",
    "check_layer",
    "contents_of_annotated",
    "counts_of",
    "counts_on_disk",
    "in_order_of",
    "is_annotated",
]

ANNOTATED = ("h5ad", "anndata", "10x")
"""Containers whose columns are matched by the names of genes."""

_LARGEST = 2**53  # above it float64 does not tell whole numbers apart


def is_annotated(data: Any) -> bool:
    """Whether this is an AnnData object."""
    return all(hasattr(data, name) for name in ("X", "layers", "obs", "var_names")) and not hasattr(data, "iloc")


def contents_of_annotated(
    data: Any, label: str | None = None, array: str | None = None, covariates: Sequence[str] = ()
) -> Contents:
    """The counts of an AnnData object, and a column of its `obs` as labels.

    Arguments:
        data: the object.
        label: a column of `obs`.
        array: a layer, "raw", or "X"; None for X. After commas, matrices of `obsm` that follow it: "X,protein".
        covariates: further columns of `obs`.

    Raises:
        DataError: there is no such layer, matrix or column, or the matrix holds no counts.
    """
    layer, keys = layer_and_keys(array)
    what = f"{'X' if layer in (None, 'X') else f'layer {clipped(layer, 30)!r}'} of the AnnData"
    matrix, genes = data.X, data.var_names
    if layer == "raw" and data.raw is not None:
        matrix, genes = data.raw.X, data.raw.var_names
    elif layer not in (None, "X"):
        check_layer(layer, data.layers, "the AnnData")
        matrix = data.layers[layer]
    if matrix is None:
        raise DataError(f"{what} is empty; name a layer of counts with array=NAME ({_listed(data.layers)}).")
    columns = {name: _of_obs(data.obs, name) for name in (*(() if label is None else (label,)), *covariates)}
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    others = {key: matrix_of_frame(check_key(key, data.obsm, "the AnnData")) for key in keys}
    matrix, genes = joined_matrices(matrix, list(genes), others)
    found = counts_of(matrix, genes, what=what, container="anndata", others=list(data.layers))
    return replace(
        found,
        y=None if label is None else columns[label],
        label=label,
        array=array,
        covariates={name: columns[name] for name in covariates} or None,
        row_names=tuple(str(name) for name in data.obs.index),
    )


def _of_obs(obs: Any, name: str) -> np.ndarray:
    from lowerbound.data.tables import values_of_column

    check_column(name, obs.columns, "obs of the AnnData")
    return values_of_column(obs[name])


def counts_of(matrix: Any, genes: Sequence[Any], *, what: str, container: str, others: Sequence[str] = ()) -> Contents:
    """A matrix of counts as rows.

    Arguments:
        matrix: (cells, genes), an array or a sparse matrix of scipy; every layout gives the same rows.
        genes: the name of each column.
        what: the name of the matrix in messages.
        container: see `Schema.container`.
        others: names of matrices that could be meant instead, for messages.

    Raises:
        DataError: the matrix holds no counts or would not fit in memory, or two genes have one name.
    """
    names = _gene_names(matrix.shape, genes, what)
    sparse = hasattr(matrix, "nnz")
    if sparse and not getattr(matrix, "has_canonical_format", True):
        matrix = matrix.copy()
        matrix.sum_duplicates()
    stored = matrix.data if sparse else np.asarray(matrix)
    _check_counts(stored, what, others)
    dtype = np.min_scalar_type(int(stored.max(initial=0)))
    if sparse and keeps_sparse(matrix.shape):
        x: Any = SparseRows(matrix.tocsr().astype(dtype))
        return Contents(what=what, container=container, x=x, names=names)
    check_memory(matrix.shape, max(dtype.itemsize, 4), what)
    x = matrix.astype(dtype).toarray(order="C") if sparse else np.ascontiguousarray(stored, dtype=dtype)
    notes = (f"{what[0].upper()}{what[1:]} is sparse and was made dense.",) if sparse else ()
    return Contents(what=what, container=container, x=x, names=names, notes=notes)


def counts_on_disk(
    stored: StoredRows, genes: Sequence[Any], *, what: str, container: str, others: Sequence[str] = ()
) -> Contents:
    """A matrix of counts that stays on disk as rows; arguments and errors are those of `counts_of`."""
    names = _gene_names(stored.shape, genes, what)
    largest = 0
    for part in stored.stored():
        _check_counts(part, what, others)
        largest = max(largest, int(part.max(initial=0)))
    store = Store([CompressedRows(stored, np.min_scalar_type(largest))])
    x: Any = OnDisk(store)
    mixed = min(store.rows_of_window, len(x))
    note = f"{what[0].upper()}{what[1:]} is sparse and stays on disk; {mixed:,} rows are mixed at a time."
    return Contents(what=what, container=container, x=x, names=names, notes=(note,))


def _gene_names(shape: Sequence[int], genes: Sequence[Any], what: str) -> tuple[str, ...]:
    """One name for each column, each once."""
    names = tuple(str(gene) for gene in genes)
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        raise DataError(
            f"{what} has two genes named '{clipped(repeated)}'; make them unique (adata.var_names_make_unique())."
        )
    if len(shape) != 2 or shape[1] != len(names):
        raise DataError(f"{what} has shape {tuple(shape)} and {len(names)} names of genes; save it again.")
    return names


def check_layer(array: str, known: Iterable[str], name: str) -> None:
    """Refuse a layer that is not there.

    Raises:
        DataError: naming those that are, and how the layer of a fit is made from X.
    """
    known = tuple(known)
    if array not in known:
        others = f"but {_listed(known)}; name one, or" if known else "and no other;"
        raise DataError(
            f"{name} has no layer '{clipped(array, 30)}' (named here or in the fit) {others} "
            f"add it: adata.layers['{clipped(array, 20)}'] = adata.X."
        )


def in_order_of(contents: Contents, schema: Schema) -> Contents:
    """The columns that the schema has, in its order, where both know the names of genes; other genes are left out.

    Raises:
        DataError: genes of the schema are missing.
    """
    wanted = schema.column_names
    if wanted is None or not schema.has_names or contents.container not in ANNOTATED or contents.names == wanted:
        return contents
    places = {name: i for i, name in enumerate(contents.names or ())}
    missing = [name for name in wanted if name not in places]
    if missing:
        raise DataError(
            f"{contents.what} lacks {len(missing):,} of the {len(wanted):,} genes of the model "
            f"({_listed(missing[:3])}{', …' if len(missing) > 3 else ''}); name genes as in the fit."
        )
    kept = [places[name] for name in wanted]
    parts = {part: None if (x := getattr(contents, part)) is None else x[:, kept] for part in ("x", "x_test")}
    return replace(contents, **parts, names=wanted)


def _check_counts(values: np.ndarray, what: str, others: Sequence[str]) -> None:
    check_numeric(values, what)
    if values.dtype.kind == "b":
        return
    bad = ~((values >= 0) & (values <= _LARGEST))
    if values.dtype.kind == "f":
        bad |= values != np.round(values)
    if bad.any():
        raise DataError(
            f"{what} holds {values[bad][0]:g}, which is no count; expected 0, 1, 2, …: name a layer of counts with "
            f"array=NAME ({_listed(others)}), or save this as .csv."
        )


def _listed(names: Any) -> str:
    shown = [clipped(str(name), 20) for name in names][:3]
    return ", ".join(f"'{name}'" for name in shown) or "none"
