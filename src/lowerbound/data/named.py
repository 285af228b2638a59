"""Building the named data sets of `lowerbound.data.catalog` from their files.

A data set is read from the .npz file of this project, if one is in the folder of the data or in the cache; else from
the files in which it was published, which are downloaded if they are missing. Both give the same arrays.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.catalog import Entry
from lowerbound.data.dataset import Dataset
from lowerbound.data.download import FOLDER_VARIABLE, URL_VARIABLE, base_url, fetch, find, has_checksum
from lowerbound.data.errors import DataError
from lowerbound.data.formats.amat import read_amat
from lowerbound.data.formats.cifar import CLASSES, TEST, TRAIN, read_cifar
from lowerbound.data.formats.idx import read_idx
from lowerbound.data.formats.matlab import read_matlab
from lowerbound.data.originals import Original
from lowerbound.data.split import split_rows

__all__ = ["load_digits", "load_file", "load_originals"]

_MOST_ARCHIVE_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class _Arrays:
    """The arrays of a data set; `x_test` is None if its files do not say which rows are for testing."""

    x: np.ndarray
    x_test: np.ndarray | None = None
    y: np.ndarray | None = None
    y_test: np.ndarray | None = None
    label_names: tuple[str, ...] | None = None


def load_digits(entry: Entry) -> Dataset:
    """Scikit-learn's digits: values 0..16 as float32 k / 16, split at random once and for all."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch: Any = sklearn_digits()
    x = (bunch.images / 16).astype(np.float32)
    return _dataset(entry, _Arrays(x=x, y=bunch.target), entry.origin)


def load_file(entry: Entry, *, download: bool) -> Dataset:
    """A data set from files: from the first of its forms that is on this machine, else from a download.

    Raises:
        DataError: if a file is altered or cannot be had.
    """
    path = find(entry.file) if entry.file is not None else None
    if path is not None:
        _check_unaltered(path, has_checksum(path, "sha256", entry.sha256))
        return _load_archive(entry, path)
    base = base_url()
    if entry.file is not None and base is not None and download:
        verify = partial(has_checksum, algorithm="sha256", expected=entry.sha256)
        return _load_archive(entry, fetch(entry.file, [f"{base}/{entry.file}"], _MOST_ARCHIVE_BYTES, verify))
    if not entry.originals:
        raise DataError(
            f"{entry.name} is not on this machine and has no address to download it from: set {FOLDER_VARIABLE} to a "
            f"folder holding {entry.file}, or {URL_VARIABLE} to the address of one."
        )
    return load_originals(entry, download=download)


def load_originals(entry: Entry, *, download: bool) -> Dataset:
    """A data set from the files in which it was published.

    Raises:
        DataError: if a file is altered or cannot be had.
    """
    paths = [_obtain(entry, original, download=download) for original in entry.originals]
    files = ", ".join(original.file for original in entry.originals)
    return _dataset(entry, _read(entry, paths), f"{entry.origin}, from {files}")


def _obtain(entry: Entry, original: Original, *, download: bool) -> Path:
    file = f"{entry.name}/{original.file}"
    found = find(file)
    if found is not None:
        _check_unaltered(found, _is_original(found, original))
        return found
    if not download:
        raise DataError(
            f"{entry.name} is not on this machine: allow the download, or set {FOLDER_VARIABLE} to a folder holding "
            f"{file if entry.file is None else entry.file}."
        )
    base = base_url()
    urls = original.urls if base is None else (f"{base}/{file}", *original.urls)
    return fetch(file, urls, original.num_bytes, partial(_is_original, original=original))


def _is_original(path: Path, original: Original) -> bool:
    algorithm, _, expected = original.checksum.partition(":")
    if algorithm != "pixels":
        return has_checksum(path, algorithm, expected)
    try:
        return hashlib.sha256(_frey_faces(path).tobytes()).hexdigest() == expected
    except DataError:
        return False


def _check_unaltered(path: Path, unaltered: bool) -> None:
    if not unaltered:
        raise DataError(
            f"'{path}' has another checksum than expected: it was altered or cut short; remove it and get it again."
        )


def _read(entry: Entry, paths: list[Path]) -> _Arrays:
    """The arrays of published files, in the order of `Entry.originals`."""
    match entry.form:
        case "idx":
            x, y, x_test, y_test = (read_idx(path) for path in paths)
            return _Arrays(x=x, y=y, x_test=x_test, y_test=y_test)
        case "amat":
            train, valid, test = (read_amat(path, 784).reshape(-1, 28, 28) * np.uint8(255) for path in paths)
            return _Arrays(x=np.concatenate([train, valid]), x_test=test)
        case "cifar":
            (x, y), (x_test, y_test) = (read_cifar(paths[0], members) for members in (TRAIN, TEST))
            return _Arrays(x=x, y=y, x_test=x_test, y_test=y_test, label_names=CLASSES)
        case "omniglot":
            names = ("data", "target", "testdata", "testtarget")
            x, y, x_test, y_test = read_matlab(paths[0], names)
            return _Arrays(x=_upright(x), y=y.argmax(0), x_test=_upright(x_test), y_test=y_test.argmax(0))
        case "frey":
            return _Arrays(x=_frey_faces(paths[0]))
        case _:
            raise AssertionError(entry.form)


def _upright(columns: np.ndarray) -> np.ndarray:
    """Images (N, 28, 28) of columns (784, N) in which the pixels of a column of the image follow each other."""
    return np.ascontiguousarray(columns.T.reshape(-1, 28, 28).swapaxes(1, 2), dtype=np.float32)


def _frey_faces(path: Path) -> np.ndarray:
    """Frames (1965, 28, 20) of columns (560, 1965) in which the pixels of a row of the frame follow each other."""
    (columns,) = read_matlab(path, ("ff",))
    if columns.ndim != 2 or columns.shape[0] != 560 or columns.dtype != np.uint8:
        raise DataError(f"'{path.name}' does not hold bytes of frames of 560 pixels: remove it and get it again.")
    return columns.T.reshape(-1, 28, 20)


def _load_archive(entry: Entry, path: Path) -> Dataset:
    """From the .npz file of a data set: `x_train` and `x_test`, or `x` to be split."""
    label = entry.label
    with np.load(path, allow_pickle=False) as archive:
        split = "x_train" in archive.files
        named = f"{label}_names" in archive.files
        arrays = _Arrays(
            x=archive["x_train" if split else "x"],
            x_test=archive["x_test"] if split else None,
            y=None if label is None else archive[f"{label}_train"],
            y_test=None if label is None else archive[f"{label}_test"],
            label_names=tuple(str(n) for n in archive[f"{label}_names"]) if named else None,
        )
    return _dataset(entry, arrays, f"{entry.origin}, from {path.name}")


def _dataset(entry: Entry, arrays: _Arrays, source: str) -> Dataset:
    x_train, x_test, y_train, y_test = arrays.x, arrays.x_test, arrays.y, arrays.y_test
    if x_test is None:
        train, test = split_rows(len(arrays.x), entry.num_test)
        x_train, x_test = arrays.x[train], arrays.x[test]
        y_train, y_test = (None, None) if arrays.y is None else (arrays.y[train], arrays.y[test])
    return Dataset.from_arrays(
        name=entry.name,
        kind=entry.kind,
        x_train=x_train,
        x_test=x_test,
        y_train=y_train,
        y_test=y_test,
        label_names=arrays.label_names,
        source=source,
    )
