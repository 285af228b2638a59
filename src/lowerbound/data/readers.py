"""Reading a user's data: files of arrays and tables, and folders of images.

The contents of a file are never executed: pickles are refused. If the data have no test rows, one row in five is held
out by a fixed random split (`lowerbound.data.split`).

| data | rows | labels |
|---|---|---|
| .npy | the array | none |
| .npz | `x`, or `x_train` and `x_test`, or the array named | `y`, or `y_train` and `y_test`, or the array named |
| .csv, .tsv, .parquet (.csv.gz, .tsv.gz) | the columns, but those left out with a reason | the column named |
| .txt, .txt.gz, a folder of them, or a pattern such as data/*.txt | the lines | none |
| .smi, .smi.txt (.smi.gz, .smi.txt.gz) | the lines, whose first words are SMILES | none |
| .h5ad | cells: `X`, or the layer named | the column of `obs` named |
| a folder with matrix.mtx (.mtx.gz), as 10x writes it | cells | none |
| a folder of .png or .jpg | the images | the names of its subfolders |
| a folder of shards (.npy, .npz, .parquet or .tar), or a pattern such as data/*.npy | as in each | as in each |

Other installed packages add formats: see `reader`. Rows of .npy, .h5ad, text and shards that take more than
`stream_above` bytes stay on disk. `read_file` reads the data of a fit and infers their schema; `read_rows` reads other
data under the schema of a fit, matched by the names of columns and classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from lowerbound.data.arrays import read_npy, read_npz
from lowerbound.data.assemble import Rows, to_dataset, to_rows
from lowerbound.data.checks import check_path
from lowerbound.data.contents import Contents
from lowerbound.data.covariates import names_of_covariates, with_covariates
from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.formats.h5ad import read_h5ad
from lowerbound.data.formats.ten_x import is_10x, read_10x
from lowerbound.data.formats.text import read_smiles, read_texts, texts_in
from lowerbound.data.overrides import Overrides
from lowerbound.data.reader import Asked, Reader
from lowerbound.data.schema import Schema
from lowerbound.data.shards.folder import is_pattern, read_shards, shards_in

__all__ = ["STREAM_ABOVE", "read_contents", "read_file", "read_rows", "readers", "suffixes"]

STREAM_ABOVE = 2 * 2**30


class _Npy:
    suffixes, holds_arrays = (".npy",), False

    def read(self, path: Path, asked: Asked) -> Contents:
        return read_npy(path, asked.label, asked.stream_above)


class _Npz:
    suffixes, holds_arrays = (".npz",), True

    def read(self, path: Path, asked: Asked) -> Contents:
        return read_npz(path, asked.label, asked.array, asked.usual_label, asked.usual_array)


class _Table:
    suffixes, holds_arrays = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"), False

    def read(self, path: Path, asked: Asked) -> Contents:
        from lowerbound.data.tables import read_table  # pandas is optional, and slow to import

        return read_table(path, asked.label, asked.usual_label)


class _Text:
    suffixes, holds_arrays = (".txt", ".txt.gz"), False

    def read(self, path: Path, asked: Asked) -> Contents:
        return read_texts([path], clipped(path.name), asked.label, asked.stream_above)


class _Smiles:
    suffixes, holds_arrays = (".smi", ".smi.gz", ".smi.txt", ".smi.txt.gz"), False

    def read(self, path: Path, asked: Asked) -> Contents:
        return read_smiles(path, asked.label)


class _H5ad:
    suffixes, holds_arrays = (".h5ad",), True

    def read(self, path: Path, asked: Asked) -> Contents:
        array = asked.array or asked.usual_array
        return read_h5ad(
            path, asked.label, asked.usual_label, array, covariates=asked.covariates, stream_above=asked.stream_above
        )


_OWN: tuple[Reader, ...] = (_Npy(), _Npz(), _Table(), _Text(), _Smiles(), _H5ad())


@cache
def readers() -> tuple[Reader, ...]:
    """The reader of every format: those of the library, and those of installed packages.

    Raises:
        TypeError: a package adds an object that is no reader.
    """
    others = [(found.name, found.load()) for found in entry_points(group="lowerbound.readers")]
    for name, reader in others:
        if not isinstance(reader, Reader):
            raise TypeError(f"The entry point {name!r} of lowerbound.readers names {reader!r}, which is no Reader.")
    return (*_OWN, *(reader for _, reader in others))


def suffixes() -> tuple[str, ...]:
    """The endings of the files that can be read."""
    return tuple(suffix for reader in readers() for suffix in reader.suffixes)


def read_file(
    path: str | Path,
    *,
    label: str | None = None,
    array: str | None = None,
    kind: str | None = None,
    columns: Mapping[Any, str] | None = None,
    event_shape: tuple[int, ...] | None = None,
    overrides: Overrides | None = None,
    schema: Schema | None = None,
    covariates: str | Sequence[str] = (),
    series: str | None = None,
    time: str | None = None,
    stream_above: int = STREAM_ABOVE,
) -> Dataset:
    """Read the data of a fit.

    Arguments:
        path: a file, whose ending says its format (see `suffixes`), or a folder of images.
        label: the label column of a table, or the label array of an .npz file.
        array: the array of rows in an .npz file, or the layer of an .h5ad file.
        kind: name of a kind of data, where the inferred one is not right; "image:event_shape=[28,28]" gives both.
        columns: from names of columns to kinds of column or "drop", where the inferred ones are not right.
        event_shape: of images whose pixels are the columns of a table.
        overrides: kind, columns and shape in one, and in place of these.
        schema: the schema of the data, if it is known; then nothing is inferred.
        covariates: columns that the model is given: of `obs`, or of a table.
        series: of a table of steps, the column that names the series of each row.
        time: of a table of steps, the column of times; None takes the rows in their order.
        stream_above: the size in bytes above which rows of an .npy file, an .h5ad file, text or shards stay on disk.

    Returns:
        The rows split into training and test parts, checked, with their schema and their checksum.

    Raises:
        DataError: if the data are missing, unreadable, of another format, or fail a check.
    """
    path, usual = Path(path), None if schema is None else schema.label
    asked = (
        names_of_covariates(covariates) if schema is None else tuple(covariate.name for covariate in schema.covariates)
    )
    if overrides is None:
        overrides = Overrides.said(kind, columns, event_shape, series, time)
    elif (kind, columns, event_shape, series, time) != (None,) * 5:
        raise ValueError(
            "read_file got overrides and also kind, columns, event_shape, series or time; say all in one of them."
        )
    contents = read_contents(
        path,
        label=label,
        usual_label=usual,
        array=array,
        covariates=asked,
        stream_above=stream_above,
        clips="video" in (overrides.kind, None if schema is None else schema.kind),
    )
    return to_dataset(contents, name=path.name, source=f"file {path}", overrides=overrides, schema=schema)


def read_rows(
    path: str | Path,
    schema: Schema,
    *,
    label: str | None = None,
    array: str | None = None,
    covariates: Mapping[str, Any] | None = None,
    stream_above: int = STREAM_ABOVE,
) -> Rows:
    """Read other data under the schema of a fit: all rows, in the order of the file.

    Arguments:
        path: a file or folder, not necessarily of the format of the fit.
        schema: that of the fit.
        label: the column (or array) of labels, if it is named otherwise than in the fit.
        array: the array of rows in an .npz file, or the layer of an .h5ad file.
        covariates: one value for all rows, by name, in place of those of the file.
        stream_above: as for `read_file`.

    Raises:
        DataError: the data cannot be read, or have not the columns, classes or shape of the schema.
    """
    path = Path(path)
    contents = read_contents(
        path,
        label=label,
        usual_label=schema.label,
        array=array,
        usual_array=schema.array,
        covariates=[covariate.name for covariate in schema.covariates if covariate.name not in (covariates or {})],
        stream_above=stream_above,
        clips=schema.kind == "video",
    )
    return to_rows(contents, schema, name=path.name, covariates=covariates)


def read_contents(
    path: Path,
    *,
    label: str | None = None,
    usual_label: str | None = None,
    array: str | None = None,
    usual_array: str | None = None,
    covariates: Sequence[str] = (),
    stream_above: int = STREAM_ABOVE,
    clips: bool = False,
) -> Contents:
    """Read the contents of a file or folder, without interpretation.

    Arguments:
        path: the file or folder.
        label: the column or array of labels, which must be there.
        usual_label: a column or array that is the label if it is there and no other is named.
        array: the array of rows in an .npz file, or the layer of an .h5ad file.
        usual_array: see `Asked`.
        covariates: columns that the model is given.
        stream_above: as for `read_file`.
        clips: whether the subfolders of a folder are clips, and the pictures in them frames.

    Raises:
        DataError: it cannot be read.
    """
    asked = Asked(
        label=label,
        usual_label=usual_label,
        array=array,
        usual_array=usual_array,
        covariates=tuple(covariates),
        stream_above=stream_above,
    )
    if not is_pattern(path):
        check_path(path)
    texts = texts_in(path)
    if texts:
        _refuse_of_texts(texts, path, array, covariates)
        return read_texts(texts, clipped(path.name), label, stream_above)
    if is_pattern(path) or (path.is_dir() and not is_10x(path) and shards_in(path)):
        if covariates:
            raise DataError(
                f"covariates '{clipped(', '.join(covariates))}' were given and shards have none; save them as .h5ad."
            )
        return read_shards(path, asked)
    reader = _reader_of(path)
    if array is not None and not (reader is not None and reader.holds_arrays):
        raise DataError(
            f"array='{clipped(array)}' was given but '{clipped(path.name)}' is not an .npz file or .h5ad file: drop it."
        )
    if path.is_dir():
        if covariates:
            raise DataError(
                f"covariates '{clipped(', '.join(covariates))}' were given and a folder has none; save it as .h5ad."
            )
        if is_10x(path):
            return read_10x(path, label)
        from lowerbound.data.clips import has_gifs, read_clips
        from lowerbound.data.folders import read_folder

        return read_clips(path, label) if clips or has_gifs(path) else read_folder(path, label)
    if reader is None:
        raise _other_format(path)
    found = reader.read(path, asked)
    return with_covariates(found, covariates) if covariates and found.covariates is None else found


def _reader_of(path: Path) -> Reader | None:
    """The reader of the longest ending that the name has."""
    name = path.name.lower()
    fitting = [(len(suffix), r) for r in readers() for suffix in r.suffixes if name.endswith(suffix)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _refuse_of_texts(texts: Sequence[Path], path: Path, array: str | None, covariates: Sequence[str]) -> None:
    """Refuse what lines do not have.

    Raises:
        DataError: naming it.
    """
    for file in texts:
        check_path(file)
    if array is not None or covariates:
        said = "array" if array is not None else "covariates"
        raise DataError(f"{said} was given and '{clipped(path.name)}' holds lines of text; save a table, or drop it.")


def _other_format(path: Path) -> DataError:
    return DataError(
        f"'{clipped(path.name)}' is not one of {', '.join(suffixes())}, nor a folder of images or of 10x: convert it."
    )
