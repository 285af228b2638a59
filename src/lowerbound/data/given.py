"""Data given in Python: a DataFrame, an array, a tensor, a path, a name, an AnnData or a `Dataset`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from lowerbound.data.annotated import contents_of_annotated, is_annotated
from lowerbound.data.arrays import dense
from lowerbound.data.assemble import Rows, to_dataset, to_rows
from lowerbound.data.catalog import load, names
from lowerbound.data.checks import check_no_fields
from lowerbound.data.column_labels import name_of
from lowerbound.data.contents import Contents
from lowerbound.data.covariates import names_of_covariates, with_covariates
from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.foreign_tables import in_pandas
from lowerbound.data.kinds.strings import are_texts
from lowerbound.data.labels import array_of_labels
from lowerbound.data.overrides import Overrides
from lowerbound.data.plain import plain
from lowerbound.data.readers import read_contents, read_file, read_rows
from lowerbound.data.remarks import DataWarning
from lowerbound.data.schema import Schema

__all__ = ["column_of", "dataset_of", "rows_under", "texts_of", "told"]


def dataset_of(
    data: Any,
    y: Any = None,
    *,
    array: str | None = None,
    schema: Schema | None = None,
    overrides: Overrides | None = None,
    names_of_columns: tuple[str, ...] | None = None,
    covariates: str | Sequence[str] = (),
    hold_out: bool = True,
) -> Dataset:
    """The data of a fit.

    Arguments:
        data: a DataFrame (of pandas, polars or pyarrow), an array or tensor (N, …), a list of str, an AnnData, a path,
            a name of the catalogue, or a `Dataset`, as it is.
        y: labels (N,) of a DataFrame or an array; or the name of the column of labels in a DataFrame, in
            `obs` of an AnnData, or in a file.
        array: the layer of an AnnData, or the array of a file that holds several.
        schema: the schema of the data, if it is known.
        overrides: what the user says of the data; not together with a schema.
        names_of_columns: of an array.
        covariates: columns of `obs` of an AnnData, of a DataFrame or of a file, which the model is given.
        hold_out: whether one row in five is held out for testing; otherwise all are for training.

    Raises:
        DataError: the data cannot be read, or are not what is said of them; y or hold_out with data that say
            themselves what they hold out and which their labels are.

    Warns:
        DataWarning: rows were left out, or something else may not be what was meant; `Dataset.remarks` says it too.
    """
    data, covariates = in_pandas(data), names_of_covariates(covariates)
    if not isinstance(hold_out, bool):
        raise DataError(f"hold_out is {clipped(repr(hold_out), 30)}; give True or False.")
    of_file = isinstance(data, str | Path) and str(data) not in names()
    label = y if of_file and isinstance(y, str) else None
    if isinstance(data, Dataset | str | Path) and not (y is label and hold_out):
        said = "hold_out" if y is label else "y"
        raise DataError(
            f"{said} goes with a DataFrame or an array, and a {type(data).__name__} was given; leave it out."
        )
    if array is not None and not (of_file or is_annotated(data)):
        raise _no_array_in(data)
    if covariates and (isinstance(data, Dataset) or str(data) in names()):
        raise DataError("covariates go with an AnnData, a DataFrame or a file; give one, or leave them out.")
    said = overrides or Overrides()
    if said.series is not None and (isinstance(data, Dataset) or str(data) in names()):
        raise DataError("series goes with a table of steps, in a file or a DataFrame; give one, or leave it out.")
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        if str(data) in names():
            return told(load(str(data)))
        return told(read_file(data, label=label, array=array, overrides=said, schema=schema, covariates=covariates))
    asked = covariates if schema is None else [covariate.name for covariate in schema.covariates]
    array = array or (schema and schema.array)
    contents = _contents(data, y, names_of_columns, hold_out=hold_out, array=array, covariates=asked)
    return told(to_dataset(contents, name="X", source="memory", overrides=overrides, schema=schema))


def told(dataset: Dataset) -> Dataset:
    """The data set, whose remarks are told.

    Warns:
        DataWarning: each of them.
    """
    for remark in dataset.remarks:
        warnings.warn(remark, DataWarning, stacklevel=4)
    return dataset


def rows_under(
    data: Any,
    schema: Schema,
    *,
    label: str | None = None,
    y: Any = None,
    array: str | None = None,
    covariates: Mapping[str, Any] | None = None,
) -> Rows:
    """Other data, read like those of the fit: columns and classes are matched by name.

    Arguments:
        data: as for `dataset_of`, or `Rows`; of a `Dataset`, its test rows; of a name both parts, as of a file.
        schema: that of the fit.
        label: the column or array of labels, if it is named otherwise than in the fit.
        y: labels (N,) of a DataFrame, an array or a list, where they are in no column of it.
        array: the array of an archive, or the layer of an AnnData, if it is named otherwise than in the fit.
        covariates: one value for all rows, by name, in place of those of the data.

    Raises:
        DataError: the data cannot be read, or have not the columns, classes or shape of the schema.
    """
    data = in_pandas(data)
    if y is not None and isinstance(data, Rows | Dataset | str | Path):
        raise DataError(f"y goes with a DataFrame or an array, and a {type(data).__name__} was given; leave it out.")
    of_file = isinstance(data, str | Path) and str(data) not in names()
    if array is not None and not (of_file or is_annotated(data)):
        raise _no_array_in(data)
    if covariates and isinstance(data, Rows | Dataset):
        raise DataError(f"covariates go with data that are read, and {type(data).__name__} was given; leave them out.")
    if isinstance(data, Rows):
        return data
    if of_file:
        return read_rows(data, schema, label=label, array=array, covariates=covariates)
    if isinstance(data, str | Dataset):
        dataset, whole = (load(data), True) if isinstance(data, str) else (data, False)
        return to_rows(_of_dataset(dataset, whole), schema, name=dataset.name)
    if label is None and y is None and schema.label not in (schema.column_names or ()):
        table: Any = data
        found = getattr(table.obs if is_annotated(table) else table, "columns", ())
        label = schema.label if schema.label in [str(name) for name in found] else None
    asked = [covariate.name for covariate in schema.covariates if covariate.name not in (covariates or {})]
    array = array or schema.array
    contents = _contents(data, label if y is None else y, None, hold_out=True, array=array, covariates=asked)
    return to_rows(contents, schema, name="X", covariates=covariates)


def _no_array_in(data: Any) -> DataError:
    return DataError(f"array goes with a file or an AnnData, and a {type(data).__name__} was given; leave it out.")


def _contents(
    data: Any,
    y: Any,
    columns: tuple[str, ...] | None,
    *,
    hold_out: bool,
    array: str | None = None,
    covariates: Sequence[str] = (),
) -> Contents:
    """An array, a tensor or a DataFrame, before anything is made of it; y are labels, or the name of their column."""
    if is_annotated(data):
        return _of_annotated(data, y, array, covariates, hold_out=hold_out)
    is_frame, label = hasattr(data, "columns") and hasattr(data, "iloc"), "y"
    columns_named = [str(name) for name in data.columns] if is_frame else []
    if isinstance(y, str) or (isinstance(y, tuple) and name_of(y) in columns_named):
        label = name_of(y)
        if label not in columns_named:
            raise DataError(f"X has no column '{clipped(label)}' of labels; give labels (N,), or a DataFrame with it.")
        place = columns_named.index(label)
        y, data = data.iloc[:, place].to_numpy(), data.iloc[:, [i for i in range(data.shape[1]) if i != place]]
    texts = None if is_frame else texts_of(data)
    x = data if is_frame else _array(data) if texts is None else texts
    labels = None if y is None else array_of_labels(y)
    found = Contents(
        what="X",
        container="frame" if is_frame else "array" if texts is None else "list",
        x=x,
        x_test=None if hold_out else x[:0],
        y=labels,
        y_test=None if hold_out or labels is None else labels[:0],
        label=None if labels is None else label,
        names=columns,
    )
    return with_covariates(found, covariates) if covariates else found


def _of_annotated(data: Any, y: Any, array: str | None, covariates: Sequence[str], *, hold_out: bool) -> Contents:
    """An AnnData; y are labels, or the name of their column in `obs`."""
    found = contents_of_annotated(data, y if isinstance(y, str) else None, array, covariates)
    if y is not None and found.y is None:
        found = replace(found, y=array_of_labels(y), label="y")
    if hold_out:
        return found
    return replace(found, x_test=found.x[:0], y_test=None if found.y is None else found.y[:0])


def texts_of(data: Any) -> np.ndarray | None:
    """A list, a Series or an array of str; None for everything else."""
    if isinstance(data, list | tuple):
        return np.array(data, dtype=object) if data and all(isinstance(one, str) for one in data) else None
    x = data.to_numpy() if hasattr(data, "to_numpy") else data
    return x.astype(object) if are_texts(x) else None


def _array(data: Any) -> np.ndarray:
    """Rows of numbers (N, …); a sparse matrix is made dense.

    Raises:
        DataError: saying what was given.
    """
    if hasattr(data, "toarray"):
        return dense(data, "X")
    expected = "expected rows of numbers (N, ...), a DataFrame, a path or the name of a data set"
    try:
        x = np.asarray(plain(data))
    except ValueError:  # lists of unequal lengths
        raise DataError(f"X is a {type(data).__name__} whose rows differ in length; {expected}.") from None
    check_no_fields(x, "X")
    if x.ndim == 0:
        given = "None" if data is None else f"a single {type(data).__name__}"
        raise DataError(f"X is {given}; {expected}.")
    if x.ndim == 1 and x.dtype.kind in "biuf":
        raise DataError(f"X has shape {x.shape}; {expected}: a single column is X[:, None], a single row X[None].")
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise DataError(f"X has shape {x.shape} and type {x.dtype}; {expected}.")
    return x


def _of_dataset(dataset: Dataset, whole: bool) -> Contents:
    """The test rows of a data set, as it has them; its training rows before them if the whole is wanted."""
    return Contents(
        what=dataset.name if whole else f"the test part of {dataset.name}",
        container=dataset.schema.container,
        x=cast(np.ndarray, dataset.x_train) if whole else dataset.x_test,
        x_test=dataset.x_test if whole else None,
        covariates=None if whole else _covariates_of(dataset),
        y=dataset.y_train if whole else dataset.y_test,
        y_test=dataset.y_test if whole else None,
        label=dataset.schema.label,
        classes=dataset.schema.classes,
        names=dataset.schema.column_names,
    )


def _covariates_of(dataset: Dataset) -> dict[str, np.ndarray] | None:
    """Covariates of the test rows, categories by their names."""
    numbers, covariates = dataset.covariates_test, dataset.schema.covariates
    if numbers is None:
        return None
    return {
        one.name: x if one.categories is None else np.array(one.categories, dtype=object)[x.astype(np.int64)]
        for one, x in zip(covariates, numbers.T, strict=True)
    }


def column_of(data: Any, name: str, schema: Schema) -> np.ndarray:
    """A column beside the rows: of `obs` of an AnnData or an .h5ad file, or of a table, as the user wrote it.

    Raises:
        DataError: there is none.
    """
    data = in_pandas(data)
    if is_annotated(data):
        found = contents_of_annotated(data, name, schema.array)
    elif hasattr(data, "columns"):
        from lowerbound.data.tables import contents_of_frame

        found = contents_of_frame(data, name, what="X", container="frame")
    elif isinstance(data, str | Path):
        found = read_contents(Path(data), label=name, usual_array=schema.array, clips=schema.kind == "video")
    else:
        raise DataError(
            f"a column '{clipped(name)}' goes with an AnnData, a DataFrame or a file; give one value a row."
        )
    if found.y is None:
        raise DataError(f"{found.what} has no column '{clipped(name)}'; name one that is there.")
    return found.y
