"""A folder of shards, or the files that a pattern names, as one data set.

Shards are files of one format, .npy, .npz, .parquet or .tar, with rows of one shape and one type; their rows are
numbered in the order of the names of the files. Other files of the folder and its subfolders are ignored. Rows that
take more than `stream_above` bytes stay on disk.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.memory import check_memory, size_in_words
from lowerbound.data.on_disk import WINDOW, OnDisk, Part, Store
from lowerbound.data.reader import Asked
from lowerbound.data.shards.archive import npz_rows, read_member
from lowerbound.data.shards.columns import ParquetRows, bytes_of, holds_rows
from lowerbound.data.shards.raw import npy_rows
from lowerbound.data.shards.tar import TarRows

__all__ = ["SUFFIXES", "is_pattern", "read_shards", "shards_in"]

SUFFIXES = (".npy", ".npz", ".parquet", ".tar")


def is_pattern(path: Path) -> bool:
    """Whether this names no file but several, by * or ? or […]."""
    return glob.has_magic(str(path)) and not os.path.exists(path)


def shards_in(path: Path) -> list[Path]:
    """The shards of a folder or a pattern, in the order of their names; none if there are none.

    Raises:
        DataError: a pattern that no file has.
    """
    if is_pattern(path):
        found = [Path(name) for name in glob.glob(str(path))]
        if not any(not one.is_dir() for one in found):
            raise DataError(f"no file is named like '{clipped(path.name)}'; check the pattern and the working folder.")
    else:
        found = list(path.iterdir()) if path.is_dir() else []
    return sorted(one for one in found if one.suffix.lower() in SUFFIXES and not one.is_dir() and one.name[0] != ".")


def read_shards(path: Path, asked: Asked, *, window: int | None = None) -> Contents:
    """Read shards, or leave them on disk if they are larger than `asked.stream_above`.

    Raises:
        DataError: there is none, one cannot be read, or one differs from the others; it is named.
    """
    files, name = shards_in(path), clipped(path.name)
    if not files:
        raise DataError(f"'{name}' names no {', '.join(SUFFIXES)} file; give shards of one of these formats.")
    _refuse_other_endings(files, name)
    _refuse_lost(files)
    suffix = files[0].suffix.lower()
    files = [file for file in files if suffix != ".parquet" or holds_rows(file)]
    if not files:
        raise _no_rows(name)
    label = asked.label
    if suffix == ".parquet" and label is None and asked.usual_label is not None:
        label = asked.usual_label if asked.usual_label in ParquetRows(files[0], None).names else None
    if suffix == ".parquet" and sum(map(bytes_of, files)) <= asked.stream_above:
        return _table(files, name, asked)
    parts = [_OPEN[suffix](file, label, asked.array) for file in files]
    parts = [part for part in parts if part.num_rows]
    if not parts:
        raise _no_rows(name)
    _refuse_the_odd_one(parts)
    store = Store(parts, WINDOW if window is None else window)
    x: Any = OnDisk(store)
    y, label = _labels(parts, suffix, label, asked)
    notes: tuple[str, ...] = ()
    if x.nbytes > asked.stream_above:
        notes = (_said(store, x.nbytes),)
    else:
        check_memory(x.shape, x.dtype.itemsize, f"the shards of {name}")
        x = np.asarray(x)
    return Contents(
        what=f"the shards of {name}",
        container="npy" if suffix == ".tar" else suffix[1:],
        x=x,
        y=y,
        label=label,
        names=parts[0].names if isinstance(parts[0], ParquetRows) else None,
        array=asked.array,
        notes=notes,
    )


def _table(files: list[Path], name: str, asked: Asked) -> Contents:
    """The tables of Parquet files as one, in memory, with columns of any type."""
    import pandas

    from lowerbound.data.tables import contents_of_frame, read_table

    _refuse_array(asked.array, files[0])
    found = [read_table(file, asked.label, asked.usual_label) for file in files]
    facts = [f"columns {', '.join(map(str, one.x.columns))}" for one in found]  # type: ignore[union-attr]
    _same_files(files, facts)
    y = None if found[0].y is None else np.concatenate([one.y for one in found if one.y is not None])
    frames: list[Any] = [one.x for one in found]
    whole = contents_of_frame(
        pandas.concat(frames, ignore_index=True), None, what=f"the shards of {name}", container="parquet"
    )
    return replace(whole, y=y, label=found[0].label)


def _npy(file: Path, label: str | None, array: str | None) -> Part:
    if label is not None:
        raise DataError(
            f"label='{clipped(label)}' was given but '{clipped(file.name)}' holds one array and no labels; save rows "
            "and labels together as .npz."
        )
    _refuse_array(array, file)
    try:
        found = npy_rows(file)
    except OSError as error:
        raise DataError(f"'{clipped(file.name)}' cannot be read ({error.strerror}).") from error
    if found is None:
        raise DataError(
            f"'{clipped(file.name)}' is no .npy file of rows of numbers in the order of C; it may be cut short: save "
            "it again by np.save(path, np.ascontiguousarray(x))."
        )
    return found


def _npz(file: Path, label: str | None, array: str | None) -> Part:
    del label
    return npz_rows(file, array)


def _parquet(file: Path, label: str | None, array: str | None) -> Part:
    _refuse_array(array, file)
    return ParquetRows(file, label)


def _tar(file: Path, label: str | None, array: str | None) -> Part:
    _refuse_array(array, file)
    return TarRows(file, label)


_OPEN: dict[str, Callable[[Path, str | None, str | None], Part]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".tar": _tar,
}


def _labels(parts: list[Any], suffix: str, label: str | None, asked: Asked) -> tuple[np.ndarray | None, str | None]:
    """The labels of all rows, and their name."""
    if suffix == ".parquet" and label is not None:
        from lowerbound.data.tables import values_of_column

        return np.concatenate([values_of_column(part.labels()) for part in parts]), label
    if suffix == ".npz":
        return _labels_of_archives(parts, label, asked.usual_label)
    if suffix != ".tar":
        return None, None
    found = [part.labels for part in parts]
    _same(parts, ["no labels" if one is None else "labels" for one in found])
    if found[0] is None:
        if label is not None:
            raise DataError(f"'{clipped(parts[0].stamp.path.name)}' has no .json with '{clipped(label)}'; drop it.")
        return None, None
    every = np.concatenate(found)
    numbers = all(one.lstrip("-").isdecimal() for one in every)
    return (every.astype(np.int64) if numbers else every), label or "cls"


def _labels_of_archives(parts: list[Any], label: str | None, usual: str | None) -> tuple[np.ndarray | None, str | None]:
    arrays = [_names_of(part.stamp.path) for part in parts]
    wanted = label or (usual if usual in arrays[0] else "y")
    _same(parts, [f"an array '{wanted}'" if wanted in names else f"no array '{wanted}'" for names in arrays])
    if wanted not in arrays[0]:
        if label is not None:
            listed = ", ".join(f"'{clipped(one, 20)}'" for one in sorted(arrays[0])[:4])
            raise DataError(
                f"'{clipped(parts[0].stamp.path.name)}' has no array '{clipped(label)}' of labels but {listed}."
            )
        return None, None
    found = [read_member(part.stamp.path, wanted) for part in parts]
    for part, y in zip(parts, found, strict=True):
        if y.shape != (part.num_rows,):
            raise DataError(
                f"'{clipped(part.stamp.path.name)}' has {part.num_rows:,} rows and labels of shape {y.shape}; give one "
                "label a row."
            )
    return np.concatenate(found), wanted


def _names_of(path: Path) -> set[str]:
    with np.load(path, allow_pickle=False) as archive:
        return set(archive.files)


def _refuse_array(array: str | None, file: Path) -> None:
    if array is not None:
        raise DataError(f"array='{clipped(array)}' was given but '{clipped(file.name)}' is not an .npz file: drop it.")


def _refuse_other_endings(files: list[Path], name: str) -> None:
    endings = sorted({file.suffix.lower() for file in files})
    if len(endings) > 1:
        raise DataError(
            f"'{name}' holds shards of several formats ({', '.join(endings)}); give those of one, as in "
            f"'{clipped(name, 30)}/*{endings[0]}'."
        )


def _refuse_lost(files: list[Path]) -> None:
    lost = next((file for file in files if not file.is_file()), None)
    if lost is not None:
        raise DataError(f"'{clipped(lost.name)}' is a link to no file; mend or remove it, as its rows are missing.")


def _no_rows(name: str) -> DataError:
    return DataError(f"the shards of '{name}' hold no rows; give some.")


def _refuse_the_odd_one(parts: list[Part]) -> None:
    _same(parts, [f"rows of shape {part.event_shape}" for part in parts])
    _same(parts, [f"numbers of type {part.dtype}" for part in parts])
    _same(parts, [f"columns {', '.join(part.names)}" if isinstance(part, ParquetRows) else "" for part in parts])


def _same(parts: list[Any], facts: list[str]) -> None:
    _same_files([part.stamp.path for part in parts], facts)


def _same_files(files: list[Path], facts: list[str]) -> None:
    """Refuse the first shard that differs from most.

    Raises:
        DataError: naming it.
    """
    usual = max(set(facts), key=lambda fact: (facts.count(fact), -facts.index(fact)))
    for file, fact in zip(files, facts, strict=True):
        if fact != usual:
            raise DataError(
                f"'{clipped(file.name)}' has {clipped(fact, 100)} and other shards have "
                f"{clipped(usual, 100)}; give shards that are alike."
            )


def _said(store: Store, nbytes: int) -> str:
    where = f"Rows stay on disk ({size_in_words(nbytes)} in {len(store.parts)} shards)"
    if store.unit_bounds is None:
        return f"{where}; any row is read alone."
    mixed = min(store.rows_of_window, int(store.bounds[-1]))
    return f"{where}; they are read in {len(store.unit_bounds) - 1:,} units, and {mixed:,} rows are mixed at a time."
