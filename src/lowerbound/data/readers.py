"""Reading a user's file: .npy, .npz, .csv, .csv.gz and .parquet.

Nothing that a file says is ever run: arrays are read with pickles refused. Where the file does not
hold out test rows itself, one row in five is held out by a fixed random split
(`lowerbound.data.split`).

| file | rows | labels |
|---|---|---|
| .npy | the array | none |
| .npz | `x`, or `x_train` and `x_test` | `y`, or `y_train` and `y_test`, if there |
| .csv, .csv.gz, .parquet | the numeric columns | the column named by `label` |

In an .npz file `array` names other rows than `x`, and `label` other labels than `y`:
``array="counts"`` reads `counts`, or `counts_train` and `counts_test`. An .npy file larger than
`stream_above` bytes is memory-mapped and stays on disk.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.checks import check_column, check_file
from lowerbound.data.contents import Contents, to_dataset
from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError

__all__ = ["STREAM_ABOVE", "SUFFIXES", "read_file"]

STREAM_ABOVE = 2 * 2**30
SUFFIXES = (".npy", ".npz", ".csv", ".csv.gz", ".parquet")
_BROKEN = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def read_file(
    path: str | Path,
    *,
    label: str | None = None,
    array: str | None = None,
    stream_above: int = STREAM_ABOVE,
) -> Dataset:
    """Read a file of rows into a `Dataset`.

    Arguments:
        path: the file; its ending says its format (see `SUFFIXES`).
        label: the label column of a table, or the label array of an .npz file.
        array: the array of rows in an .npz file, `x` if None.
        stream_above: the size in bytes above which an .npy file is memory-mapped rather than read.

    Returns:
        The rows split into training and test parts, checked, with their checksum.

    Raises:
        DataError: if the file is missing, unreadable, of another format, or fails a check.
    """
    path = Path(path)
    check_file(path)
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise DataError(f"'{path.name}' is not one of {', '.join(SUFFIXES)}: save it as one of those.")
    if array is not None and suffix != ".npz":
        raise DataError(f"array='{array}' was given but '{path.name}' is not an .npz file: drop it.")
    if suffix == ".npy":
        contents = _read_npy(path, label, stream_above)
    elif suffix == ".npz":
        contents = _read_npz(path, label, array or "x")
    else:
        from lowerbound.data.tables import read_table  # pandas is optional, and slow to import

        contents = read_table(path, label)
    return to_dataset(contents, name=path.name, source=f"file {path}")


def _read_npy(path: Path, label: str | None, stream_above: int) -> Contents:
    if label is not None:
        raise DataError(
            f"label='{label}' was given but '{path.name}' holds one array and no labels; "
            "save rows and labels together as .npz."
        )
    streamed = path.stat().st_size > stream_above
    try:
        x = np.load(path, mmap_mode="r" if streamed else None, allow_pickle=False)
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    if not isinstance(x, np.ndarray):
        x.close()
        raise DataError(f"'{path.name}' is an archive of arrays: rename it to end in .npz.")
    return Contents(what=f"the array of {path.name}", x=x)


def _read_npz(path: Path, label: str | None, array: str) -> Contents:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"'{path.name}' is not an archive: rename it to end in .npy.")
            return _from_archive(archive, path, label, array)
    except DataError:
        raise
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def _from_archive(archive: "np.lib.npyio.NpzFile", path: Path, label: str | None, array: str) -> Contents:
    x, x_test = _pair(archive, array)
    if x is None:
        check_column(array, archive.files, f"{path.name} (array={array!r})")
    y, y_test = _pair(archive, label or "y")
    if label is not None and y is None:
        check_column(label, archive.files, f"{path.name} (label={label!r})")
    if x_test is not None and y is not None and y_test is None:
        raise DataError(f"{path.name} has labels for its training rows only; add the test labels.")
    assert x is not None
    return Contents(what=f"array '{array}' of {path.name}", x=x, x_test=x_test, y=y, y_test=y_test)


def _pair(archive: "np.lib.npyio.NpzFile", stem: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Arrays `stem` and None, or `stem_train` and `stem_test` (None if not there), or two Nones."""
    if stem in archive.files:
        return archive[stem], None
    parts = [f"{stem}_train", f"{stem}_test"]
    train, test = (archive[part] if part in archive.files else None for part in parts)
    return train, test


def _unreadable(path: Path, error: Exception) -> DataError:
    if "Object arrays" in str(error) or "objects in dtype" in str(error):
        return DataError(
            f"'{path.name}' holds Python objects, which are never loaded because they can run "
            "code; save it again as plain arrays of numbers."
        )
    kind = path.suffix.lower().lstrip(".")
    return DataError(f"'{path.name}' is not a readable .{kind} file; it may be cut short or altered: save it again.")
