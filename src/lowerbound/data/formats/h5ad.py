"""AnnData's files (.h5ad), read by h5py: a matrix X or a layer, the names of genes, and a column of `obs` as labels.

The layout is that of anndata 0.7 and later ("On-disk format", anndata.readthedocs.io): a sparse matrix is a group of
`data`, `indices` and `indptr`, a table is a group of columns whose attribute `_index` names the one of the names.
Nothing else of the file is read, and sizes are checked before anything is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.annotated import check_layer, counts_of, counts_on_disk
from lowerbound.data.checks import check_column
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.joined_matrices import check_key, joined_matrices, layer_and_keys
from lowerbound.data.memory import check_memory
from lowerbound.data.on_disk import Stamp
from lowerbound.data.shards.compressed_rows import Slice, StoredRows

__all__ = ["read_h5ad", "with_latents"]

_BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, IndexError, OverflowError)


def read_h5ad(
    path: Path,
    label: str | None,
    usual_label: str | None = None,
    array: str | None = None,
    covariates: Sequence[str] = (),
    stream_above: int | None = None,
) -> Contents:
    """Read the counts of cells.

    Arguments:
        path: the file.
        label: a column of `obs`, which must be there.
        usual_label: a column that is the label if it is there and no other is named.
        array: a layer, "raw" (X as it was before genes were filtered), or "X"; None for X. After commas, matrices of
            `obsm` that follow it: "X,protein".
        covariates: further columns of `obs`, which must be there.
        stream_above: bytes of a matrix in compressed rows above which it stays on disk; None for in memory always.

    Raises:
        DataError: h5py is missing, the file cannot be read, it lacks what is named, or it holds no counts.
    """
    name = clipped(path.name)
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"reading '{name}' needs h5py: pip install 'lowerbound[counts]'.") from error
    try:
        with h5py.File(path, "r") as file:
            return _contents(file, path, label, usual_label, array, covariates, stream_above)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"'{name}' is too large for memory; give fewer cells or genes.") from error
    except _BROKEN as error:
        raise DataError(
            f"'{name}' is not a readable .h5ad file; it may be cut short or be of an anndata before 0.7: save it again."
        ) from error


def with_latents(
    path: Path,
    latents: np.ndarray,
    of_cells: Mapping[str, np.ndarray | None] | None = None,
    key: str = "X_lowerbound",
) -> bytes:
    """The bytes of a file with latents (cells, …) in its `obsm` and columns (cells,) in its `obs`, those that are not
    None; they replace those of the same names.

    Raises:
        DataError: the file is not one of AnnData, or is too large for memory.
    """
    import io

    import h5py

    check_memory((path.stat().st_size,), 1, f"a copy of {clipped(path.name)}")
    buffer = io.BytesIO(path.read_bytes())
    try:
        with h5py.File(buffer, "r+") as file:
            obsm = file.require_group("obsm")
            obsm.attrs.setdefault("encoding-type", "dict")
            obsm.attrs.setdefault("encoding-version", "0.1.0")
            if key in obsm:
                del obsm[key]
            obsm[key] = latents
            obsm[key].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            for name, values in (of_cells or {}).items():
                if values is not None:
                    _put_column(file["obs"], name, values)
    except _BROKEN as error:
        raise DataError(f"'{clipped(path.name)}' cannot be copied with its latents; write .csv.") from error
    return buffer.getvalue()


def _put_column(table: Any, name: str, values: np.ndarray) -> None:
    """Write a column of `obs`, of text or of numbers."""
    if name in table:
        del table[name]
    is_text = values.dtype.kind in "OU"
    table[name] = list(map(str, values)) if is_text else values
    kind = "string-array" if is_text else "array"
    table[name].attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})
    order = [str(one) for one in table.attrs.get("column-order", [])]
    if "column-order" in table.attrs and name not in order:
        table.attrs["column-order"] = [*order, name]


def _contents(
    file: Any,
    path: Path,
    label: str | None,
    usual_label: str | None,
    array: str | None,
    covariates: Sequence[str],
    stream_above: int | None,
) -> Contents:
    name, whole = clipped(path.name), array
    array, keys = layer_and_keys(array)
    layers = list(file["layers"]) if "layers" in file else []
    known = {**{layer: f"layers/{layer}" for layer in layers}, "X": "X", "raw": "raw/X"}
    known = {key: place for key, place in known.items() if place in file}
    if array is not None:
        check_layer(array, known, name)
    others = [key for key in known if key != (array or "X")]
    if array is None and "X" not in known:
        listed = ", ".join(f"'{clipped(other, 30)}'" for other in others[:4]) or "none"
        raise DataError(f"{name} has no X; name a layer of counts with array=NAME ({listed}).")
    what = f"{'X' if array in (None, 'X') else f'array {clipped(array, 30)!r}'} of {name}"
    genes = _names(file["raw/var" if array == "raw" else "var"])
    item = file[known[array or "X"]]
    if keys:
        known_keys = file.get("obsm", {})
        matrices = {key: _of_obsm(check_key(key, known_keys, name), f"obsm['{key}'] of {name}") for key in keys}
        matrix, genes = joined_matrices(_matrix(item, what), genes, matrices)
        found = counts_of(matrix, genes, what=what, container="h5ad", others=others)
    elif stream_above is not None and _bytes_of_rows(item) > stream_above:
        found = counts_on_disk(_rows_on_disk(item, path), genes, what=what, container="h5ad", others=others)
    else:
        found = counts_of(_matrix(item, what), genes, what=what, container="h5ad", others=others)
    obs = file["obs"]
    columns = [column for column in obs if column != _text(obs.attrs["_index"])]
    if label is None and usual_label in columns:
        label = usual_label
    for column in (*(() if label is None else (label,)), *covariates):
        check_column(column, columns, f"obs of {name}")
    return replace(
        found,
        y=None if label is None else _column(obs[label]),
        label=label,
        array=whole,
        covariates={column: _column(obs[column]) for column in covariates} or None,
        row_names=tuple(_names(obs)),
    )


def _of_obsm(item: Any, what: str) -> tuple[Any, list[str] | None]:
    """A matrix of `obsm` and the names of its columns, which a table has."""
    if hasattr(item, "shape") or _text(item.attrs["encoding-type"]) != "dataframe":
        return _matrix(item, what), None
    names = [_text(name) for name in item.attrs["column-order"]]
    return np.stack([_column(item[name]) for name in names], 1), names


def _matrix(item: Any, what: str) -> Any:
    """A matrix of the file: an array, or a sparse matrix of scipy."""
    import scipy.sparse

    if hasattr(item, "shape"):
        check_memory(item.shape, item.dtype.itemsize, what)
        return item[()]
    layout = _text(item.attrs["encoding-type"])
    make: Any = {"csr_matrix": scipy.sparse.csr_matrix, "csc_matrix": scipy.sparse.csc_matrix}.get(layout)
    if make is None:
        raise DataError(f"{what} is stored as '{clipped(layout)}'; expected an array, CSR or CSC: save it again.")
    shape = tuple(int(n) for n in item.attrs["shape"])
    for part in ("data", "indices", "indptr"):
        check_memory(item[part].shape, item[part].dtype.itemsize, what)
    matrix = make((item["data"][()], item["indices"][()], item["indptr"][()]), shape=shape)
    matrix.check_format(full_check=True)  # an index outside of the matrix would be read beyond its memory
    return matrix


def _bytes_of_rows(item: Any) -> int:
    """The bytes of a matrix in compressed rows, in memory; 0 of others, which are read at once."""
    if hasattr(item, "shape") or _text(item.attrs["encoding-type"]) != "csr_matrix":
        return 0
    return sum(item[part].size * item[part].dtype.itemsize for part in ("data", "indices"))


def _rows_on_disk(item: Any, path: Path) -> StoredRows:
    """A matrix in compressed rows that is read a slice at a time, from the file opened anew."""
    import h5py

    place = item.name

    def sliced(part: str) -> Slice:
        def read(start: int, stop: int) -> np.ndarray:
            with h5py.File(path, "r") as file:
                found: Any = file[f"{place}/{part}"]
                return found[start:stop]

        return read

    shape = tuple(int(n) for n in item.attrs["shape"])
    if len(shape) != 2:
        raise ValueError("no matrix")
    return StoredRows(
        stamp=Stamp.of(path), name=place, shape=shape, indptr=item["indptr"][()], data=sliced("data"),
        indices=sliced("indices"), dtype=item["data"].dtype,
    )  # fmt: skip


def _names(table: Any) -> list[str]:
    """The names of the rows of a table."""
    return [str(name) for name in _column(table[_text(table.attrs["_index"])])]


def _column(item: Any) -> np.ndarray:
    """A column of a table: numbers, or text with None where it is missing."""
    if hasattr(item, "keys"):
        if "categories" in item:
            names = np.array([*_column(item["categories"]).tolist(), None], dtype=object)
            return names[item["codes"][()]]
        values = _column(item["values"]).astype(object)
        values[item["mask"][()]] = None
        return values
    return item.asstr()[()] if item.dtype.kind in "OS" else item[()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
