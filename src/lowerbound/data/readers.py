"""Reading a user's data: files of arrays and tables, and folders of images.

The contents of a file are never executed: pickles are refused. If the data have no test rows, one row in five is held
out by a fixed random split (`lowerbound.data.split`).

| data | rows | labels |
|---|---|---|
| .npy | the array | none |
| .npz | `x`, or `x_train` and `x_test`, or the array named | `y`, or `y_train` and `y_test`, or the array named |
| .csv, .tsv, .parquet (.csv.gz, .tsv.gz) | the columns, but those left out with a reason | the column named |
| a folder of .png or .jpg | the images | the names of its subfolders |

An .npy file larger than `stream_above` bytes is memory-mapped and stays on disk. `read_file` reads the data of a fit
and infers their schema; `read_rows` reads other data under the schema of a fit, matched by the names of columns and
classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lowerbound.data.arrays import read_npy, read_npz
from lowerbound.data.assemble import Rows, to_dataset, to_rows
from lowerbound.data.checks import check_path
from lowerbound.data.contents import Contents
from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import Schema

__all__ = ["STREAM_ABOVE", "SUFFIXES", "read_contents", "read_file", "read_rows"]

STREAM_ABOVE = 2 * 2**30
SUFFIXES = (".npy", ".npz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


def read_file(
    path: str | Path,
    *,
    label: str | None = None,
    array: str | None = None,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
    event_shape: tuple[int, ...] | None = None,
    schema: Schema | None = None,
    stream_above: int = STREAM_ABOVE,
) -> Dataset:
    """Read the data of a fit.

    Arguments:
        path: a file, whose ending says its format (see `SUFFIXES`), or a folder of images.
        label: the label column of a table, or the label array of an .npz file.
        array: the array of rows in an .npz file.
        kind: name of a kind of data, where the inferred one is not right; "image:event_shape=[28,28]" gives both.
        columns: from names of columns to kinds of column or "drop", where the inferred ones are not right.
        event_shape: of images whose pixels are the columns of a table.
        schema: the schema of the data, if it is known; then nothing is inferred.
        stream_above: the size in bytes above which an .npy file is memory-mapped rather than read.

    Returns:
        The rows split into training and test parts, checked, with their schema and their checksum.

    Raises:
        DataError: if the data are missing, unreadable, of another format, or fail a check.
    """
    path, usual = Path(path), None if schema is None else schema.label
    contents = read_contents(path, label=label, usual_label=usual, array=array, stream_above=stream_above)
    overrides = Overrides.said(kind, columns, event_shape)
    return to_dataset(contents, name=path.name, source=f"file {path}", overrides=overrides, schema=schema)


def read_rows(
    path: str | Path,
    schema: Schema,
    *,
    label: str | None = None,
    array: str | None = None,
    stream_above: int = STREAM_ABOVE,
) -> Rows:
    """Read other data under the schema of a fit: all rows, in the order of the file.

    Arguments:
        path: a file or folder, not necessarily of the format of the fit.
        schema: that of the fit.
        label: the column (or array) of labels, if it is named otherwise than in the fit.
        array: the array of rows in an .npz file.
        stream_above: as for `read_file`.

    Raises:
        DataError: the data cannot be read, or have not the columns, classes or shape of the schema.
    """
    path = Path(path)
    contents = read_contents(path, label=label, usual_label=schema.label, array=array, stream_above=stream_above)
    return to_rows(contents, schema, name=path.name)


def read_contents(
    path: Path,
    *,
    label: str | None = None,
    usual_label: str | None = None,
    array: str | None = None,
    stream_above: int = STREAM_ABOVE,
) -> Contents:
    """Read the contents of a file or folder, without interpretation.

    Arguments:
        path: the file or folder.
        label: the column or array of labels, which must be there.
        usual_label: a column or array that is the label if it is there and no other is named.
        array: the array of rows in an .npz file.
        stream_above: as for `read_file`.

    Raises:
        DataError: it cannot be read.
    """
    check_path(path)
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if array is not None and suffix != ".npz":
        raise DataError(f"array='{clipped(array)}' was given but '{clipped(path.name)}' is not an .npz file: drop it.")
    if path.is_dir():
        from lowerbound.data.folders import read_folder

        return read_folder(path, label)
    if suffix == ".npy":
        return read_npy(path, label, stream_above)
    if suffix == ".npz":
        return read_npz(path, label, array, usual_label)
    if suffix is None:
        raise _other_format(path)
    from lowerbound.data.tables import read_table  # pandas is optional, and slow to import

    return read_table(path, label, usual_label)


def _other_format(path: Path) -> DataError:
    if path.name.lower().endswith(".h5ad"):
        return DataError(
            f"'{clipped(path.name)}' is an AnnData file, which this version does not read yet; save its counts with "
            "scipy.sparse.save_npz, or as .npz or .csv."
        )
    return DataError(
        f"'{clipped(path.name)}' is not one of {', '.join(SUFFIXES)}, nor a folder of images: save it as one."
    )
