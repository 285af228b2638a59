"""Reading arrays: .npy, .npz, and the sparse .npz of scipy. Pickles are refused, and sizes are checked before reading.

In an archive the rows are `x`, or `x_train` and `x_test`; else the array that the user names; else the only array of
two or more axes, or the only one with a usual name. Several names with commas make a table (`joined_arrays`). Labels
are the array that the user names, or `y`.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np

from lowerbound.data.checks import check_column
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.joined_arrays import joined
from lowerbound.data.memory import check_memory
from lowerbound.data.on_disk import OnDisk, Store
from lowerbound.data.shards.headers import Header, header_of
from lowerbound.data.shards.raw import npy_rows
from lowerbound.data.sparse import SparseRows, keeps_sparse

__all__ = ["dense", "read_npy", "read_npz"]

_BROKEN = (
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    OverflowError,
)
_USUAL = ("x", "data", "counts", "images", "features")
_CODES = (
    "holds Python objects, which are never loaded because they can run code; save it again as plain arrays of numbers."
)


def dense(x: Any, name: str) -> np.ndarray:
    """Turn a matrix into an array, if it is a sparse matrix of scipy.

    Raises:
        DataError: it would not fit into memory.
    """
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        check_memory(x.shape, x.dtype.itemsize, name)
        return np.asarray(x.toarray())
    return np.asarray(x)


def read_npy(path: Path, label: str | None, stream_above: int) -> Contents:
    """Read an .npy file, or leave it on disk if it is larger than `stream_above` bytes.

    Raises:
        DataError: it is no array, or its label was asked for.
    """
    if label is not None:
        raise DataError(
            f"label='{clipped(label)}' was given but '{clipped(path.name)}' holds one array and no labels; "
            "save rows and labels together as .npz."
        )
    streamed = path.stat().st_size > stream_above
    try:
        with path.open("rb") as stream:
            if stream.read(4) == b"PK\x03\x04":
                raise DataError(f"'{clipped(path.name)}' is an archive of arrays: rename it to end in .npz.")
            stream.seek(0)
            header = header_of(stream)
        if not streamed and header is not None and not header.dtype.hasobject:
            check_memory(header.shape, header.dtype.itemsize, f"'{clipped(path.name)}'")
        rows = npy_rows(path) if streamed else None
        if rows is None:  # in Fortran's order, a row is nowhere whole
            x: Any = np.load(path, mmap_mode="r" if streamed else None, allow_pickle=False)
        else:
            x = OnDisk(Store([rows]))
    except DataError:
        raise
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    return Contents(what=f"the array of {clipped(path.name)}", container="npy", x=x)


def read_npz(
    path: Path,
    label: str | None,
    array: str | None,
    usual_label: str | None = None,
    usual_array: str | None = None,
) -> Contents:
    """Read the rows and labels of an archive, and no other array in it.

    Raises:
        DataError: it is no archive, or does not say which array holds the rows.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(6) == b"\x93NUMPY":
                raise DataError(f"'{clipped(path.name)}' is not an archive: rename it to end in .npy.")
        with zipfile.ZipFile(path) as archive:
            _refuse_locked(archive, path)
            headers = _headers(archive, path)
            if {"indices", "indptr", "format", "shape", "data"} <= set(headers):
                return _read_sparse(path, label)
        together = array or usual_array or ""
        with np.load(path, allow_pickle=False) as opened:
            if "," in together and together not in map(_stem, headers):
                return _several(opened, headers, path, label, together)
            named = array or _usual(headers, usual_array, path)
            return _from_archive(opened, headers, path, label, named, usual_label or "y")
    except DataError:
        raise
    except (*_BROKEN, NotImplementedError, MemoryError) as error:
        raise _unreadable(path, error) from error


def _from_archive(
    archive: Any, headers: dict[str, Header], path: Path, label: str | None, array: str | None, usual_label: str
) -> Contents:
    name = clipped(path.name)
    stem, note = _rows_of(headers, label, array, name)
    x, x_test = _pair(archive, headers, stem, path)
    if x is None:
        check_column(stem, headers, f"{name} (array={clipped(stem, 30)!r})")
    wanted = label or (usual_label if usual_label in map(_stem, headers) else "y")
    y, y_test = _pair(archive, headers, wanted, path)
    if label is not None and y is None:
        check_column(label, headers, f"{name} (label={clipped(label, 30)!r})")
    if x_test is not None and y is not None and y_test is None:
        raise DataError(f"{name} has labels for its training rows only; add the test labels.")
    assert x is not None
    return Contents(
        what=f"array '{clipped(stem)}' of {name}",
        container="npz",
        x=x,
        x_test=x_test,
        y=y,
        y_test=y_test,
        label=None if y is None else wanted,
        classes=_classes(archive, headers, wanted, [part for part in (y, y_test) if part is not None]),
        notes=note,
        array=array,
    )


def _several(archive: Any, headers: dict[str, Header], path: Path, label: str | None, arrays: str) -> Contents:
    """Several arrays of the same rows as one table."""
    name, parts = clipped(path.name), {}
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given with several arrays; name it among those, as one of them.")
    for stem in dict.fromkeys(arrays.split(",")):
        parts[stem] = _pair(archive, headers, stem, path)
        if parts[stem][0] is None:
            check_column(stem, map(_stem, headers), f"{name} (array={clipped(arrays, 60)!r})")
    tests = [stem for stem, (_, test) in parts.items() if test is not None]
    if tests and len(tests) < len(parts):
        lacking = next(stem for stem in parts if stem not in tests)
        raise DataError(f"{name} has test rows of '{clipped(tests[0])}' and none of '{clipped(lacking)}'; add those.")
    return Contents(
        what=f"the arrays {clipped(arrays, 60)} of {name}",
        container="arrays",
        x=joined({stem: pair[0] for stem, pair in parts.items()}, name),
        x_test=joined({stem: pair[1] for stem, pair in parts.items()}, name) if tests else None,
        array=arrays,
    )


def _usual(headers: dict[str, Header], array: str | None, path: Path) -> str | None:
    """The array of the fit, if the archive has it.

    Raises:
        DataError: it has `x` in its place, which may be something else.
    """
    stems = {_stem(key) for key in headers}
    if array is not None and array not in stems and "x" in stems:
        raise DataError(
            f"{clipped(path.name)} has no array '{clipped(array, 30)}', to which the model was fitted; say which holds "
            "its rows, as in array='x'."
        )
    return array if array in stems else None


def _rows_of(
    headers: dict[str, Header], label: str | None, array: str | None, name: str
) -> tuple[str, tuple[str, ...]]:
    """The stem of the rows' array, and a note if it was chosen here."""
    if array is not None:
        return array, ()
    if "x" in headers or "x_train" in headers:
        return "x", ()
    stems = {_stem(key): header for key, header in headers.items() if _may_be_rows(header) and _stem(key) != label}
    usual = [stem for stem in stems if stem.lower() in _USUAL]
    chosen = usual if len(usual) == 1 else list(stems)
    if len(chosen) != 1:
        listed = ", ".join(f"'{clipped(stem)}'" for stem in list(stems or headers)[:6])
        raise DataError(
            f"{name} has no 'x'; say which array holds the rows with array=NAME: {listed or 'it is empty'}."
        )
    return chosen[0], (f"Rows are the array '{clipped(chosen[0])}' of {name}.",)


def _stem(key: str) -> str:
    return key.removesuffix("_train").removesuffix("_test")


def _may_be_rows(header: Header) -> bool:
    return len(header.shape) >= 2 and header.dtype.kind in "biuf"


def _pair(
    archive: Any, headers: dict[str, Header], stem: str, path: Path
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Arrays `stem` and None, or `stem_train` and `stem_test` (None if not there), or two Nones."""
    if stem in headers:
        return _array(archive, headers, stem, path), None
    parts = (f"{stem}_train", f"{stem}_test")
    train, test = (_array(archive, headers, part, path) if part in headers else None for part in parts)
    return train, test


def _array(archive: Any, headers: dict[str, Header], key: str, path: Path) -> np.ndarray:
    header = headers[key]
    if header.dtype.hasobject:
        raise DataError(f"'{clipped(path.name)}' {_CODES}")
    check_memory(header.shape, header.dtype.itemsize, f"array '{clipped(key)}' of {clipped(path.name)}")
    return archive[key]


def _classes(archive: Any, headers: dict[str, Header], label: str, parts: list[np.ndarray]) -> tuple[str, ...] | None:
    """Names of the classes, from an array `LABEL_names` or `class_names`, where labels are their numbers."""
    for key in (f"{label}_names", "class_names"):
        header = headers.get(key)
        if header is None or len(header.shape) != 1 or header.dtype.kind != "U" or not parts:
            continue
        numbers = all(part.dtype.kind in "iu" and part.size and part.max() < header.shape[0] for part in parts)
        names = tuple(str(name) for name in archive[key])
        if numbers and len(set(names)) == len(names):
            return names
    return None


def _read_sparse(path: Path, label: str | None) -> Contents:
    """A sparse matrix, as `scipy.sparse.save_npz` writes it."""
    import scipy.sparse

    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given but '{clipped(path.name)}' is one sparse matrix; drop it.")
    matrix: Any = scipy.sparse.load_npz(path)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # an index outside of the matrix would be read beyond its memory
    what = f"the sparse matrix of {clipped(path.name)}"
    if keeps_sparse(matrix.shape):
        return Contents(what=what, container="npz", x=cast(Any, SparseRows(matrix.tocsr())))
    note = f"{path.name} is sparse and was made dense."
    return Contents(what=what, container="npz", x=dense(matrix, what), notes=(note,))


def _refuse_locked(archive: zipfile.ZipFile, path: Path) -> None:
    for info in archive.infolist():
        if info.flag_bits & 1:
            raise DataError(f"'{clipped(path.name)}' is locked by a password; save it again without one.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"'{clipped(path.name)}' is compressed in another way than NumPy does; save it again.")


def _headers(archive: zipfile.ZipFile, path: Path) -> dict[str, Header]:
    """Shape and type of each array in the archive, without reading it; other members are ignored."""
    found = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        with archive.open(info) as member:
            header = header_of(member)
        if header is None:
            raise DataError(
                f"'{clipped(info.filename)}' in {clipped(path.name)} is no array; it may be altered: save it again."
            )
        found[info.filename.removesuffix(".npy")] = header
    return found


def _unreadable(path: Path, error: BaseException) -> DataError:
    name = clipped(path.name)
    if "Object arrays" in str(error) or "objects in dtype" in str(error):
        return DataError(f"'{name}' {_CODES}")
    kind = path.suffix.lower().lstrip(".")
    return DataError(f"'{name}' is not a readable .{kind} file; it may be cut short or altered: save it again.")
