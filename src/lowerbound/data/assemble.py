"""From what a reader found to a data set: infer or follow a schema, number the labels, split, check, fingerprint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lowerbound.data.annotated import in_order_of
from lowerbound.data.checks import check_column, check_labels, check_no_fields, check_rows
from lowerbound.data.contents import Contents, Given
from lowerbound.data.covariates import close_covariates, covariate_numbers, infer_covariates
from lowerbound.data.dataset import Dataset
from lowerbound.data.errors import DataError
from lowerbound.data.kinds import kind_named, kind_of
from lowerbound.data.kinds.kind import ComparesParts, LeavesOut
from lowerbound.data.labels import UNLABELLED, array_of_labels, class_names, label_values, numbered
from lowerbound.data.lines import Lines
from lowerbound.data.may_be_clips import clips_in_words
from lowerbound.data.may_be_steps import steps_in_words
from lowerbound.data.overrides import Overrides
from lowerbound.data.remarks import DataWarning, empty_rows, in_other_units, without_values
from lowerbound.data.schema import Schema
from lowerbound.data.sparse import STAYS, Array
from lowerbound.data.split import num_held_out, split_rows
from lowerbound.data.steps_of_series import in_series, infer_series

__all__ = ["Rows", "infer_schema", "to_dataset", "to_rows"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """All rows of data that are not those of the fit, under the schema of the fit.

    Attributes:
        x: stored rows (N, *event_shape) in the order of the file, training part first; a memory map if it is large.
        y: numbers of classes, −1 where there is no label, or measurements (N,); None without labels.
        num_test: how many of the last rows are test rows according to the file; 0 if it does not say.
        name: of the data.
        schema: the schema of the fit.
        notes: decisions made while reading, one sentence each.
        numbers: which rows of the file or array these are (N,), if they are not all of them in their order.
        covariates: numbers of categories and values (N, C) of `schema.covariates`, or None.
        row_names: of these rows, or None.
        starts: the first time of each series (N,), on the scale of the schema, or None.
    """

    x: Array
    y: np.ndarray | None
    num_test: int
    name: str
    schema: Schema
    notes: tuple[str, ...] = ()
    numbers: np.ndarray | None = None
    covariates: np.ndarray | None = None
    row_names: tuple[str, ...] | None = None
    starts: np.ndarray | None = None

    def __repr__(self) -> str:
        """What the rows are and how many there are, without them."""
        shape = " x ".join(map(str, self.schema.event_shape))
        return f"Rows of {self.name!r} ({self.schema.kind}): {len(self.x):,} of {shape}"


def infer_schema(contents: Contents, overrides: Overrides, name: str) -> Schema:
    """The schema of the data of a fit.

    Raises:
        DataError: the contents are of no kind, or cannot be what the user says.
    """
    _check_given(contents.x, contents.what)
    kind = kind_of(contents, overrides)
    schema = kind.infer(_as_read_by(kind.name, contents), overrides)
    if contents.covariates is not None:
        schema = replace(schema, covariates=infer_covariates(contents.covariates, contents.what))
    if contents.y is None:
        return schema
    parts = [part.reshape(-1) for part in (contents.y, contents.y_test) if part is not None]
    values = label_values(array_of_labels(np.concatenate(parts)), _labels_of(name))
    classes = contents.classes or class_names(values, _labels_of(name))
    dtype = str(contents.y.dtype) if contents.classes is None else "str"
    return replace(schema, label=contents.label, label_dtype=dtype, classes=classes)


def to_dataset(
    contents: Contents,
    *,
    name: str,
    source: str,
    overrides: Overrides | None = None,
    schema: Schema | None = None,
    train_rows: np.ndarray | None = None,
) -> Dataset:
    """Arrange, split, check and fingerprint what a file held.

    Arguments:
        contents: what a reader found.
        name: of the data.
        source: where they came from, in words.
        overrides: what the user says about the data; not together with a schema.
        schema: what the data mean; inferred if None.
        train_rows: which rows of `contents.x` are for training, if there is a test part as well.

    Raises:
        DataError: the contents fail a check, or do not follow the schema.
    """
    if schema is None:
        contents, schema = _inferred(contents, overrides or Overrides(), name)
    elif schema.series is not None:
        contents = in_series(contents, schema.series, schema.event_shape[0])
    schema = replace(schema, covariates=close_covariates(schema.covariates, contents.covariates or {}, contents.what))
    kind, contents = kind_named(schema.kind), in_order_of(_as_read_by(schema.kind, contents), schema)
    contents, kept = kind.usable(contents, schema, refuse=False) if isinstance(kind, LeavesOut) else (contents, None)
    x = kind.rows(contents.x, schema, contents.what)
    check_rows(x, contents.what, "row" if schema.series is None else "series")
    y, y_test = _numbered(contents, schema, name, len(x) if train_rows is None else len(train_rows))
    given = _covariates(contents, schema, kept)
    train, test = train_rows, None
    if contents.x_test is None:
        train, test = (np.sort(rows) for rows in split_rows(len(x), num_held_out(len(x))))
        x_test = _in_memory(x[test])
    else:
        x_test = _in_memory(kind.rows(contents.x_test, schema, f"the test part of {name}"))
    of_nothing = empty_rows(x, contents.what) if schema.columns is not None else ()
    streamed = isinstance(x, STAYS)
    if not streamed and test is not None:
        x = x[train]
    compared = kind.in_both(x, x_test, name) if isinstance(kind, ComparesParts) else ()
    return Dataset.checked(
        name=name,
        schema=schema,
        x_train=x,
        x_test=x_test.astype(x.dtype, copy=False) if not streamed else x_test,
        y_train=y if y is None or test is None else y[train],
        y_test=y_test if test is None or y is None else y[test],
        train_rows=train if streamed or test is None else None,
        test_rows=test if test is None or kept is None else kept[test],
        usable_rows=kept,
        source=source,
        notes=(*contents.notes, *_without_label(y, schema, name), *of_nothing, *compared),
        remarks=contents.remarks,
        covariates_train=given if given is None or test is None else given[train],
        covariates_test=None if given is None else given[:0] if test is None else given[test],
        row_names=contents.row_names,
        starts=contents.starts,
    )


def to_rows(contents: Contents, schema: Schema, *, name: str, covariates: Mapping[str, Any] | None = None) -> Rows:
    """All rows of other data, under the schema of a fit; one row suffices.

    Arguments:
        contents: what a reader found.
        schema: that of the fit.
        name: of the data.
        covariates: one value for all rows, by name, in place of those of the data.

    Raises:
        DataError: the contents do not follow the schema.

    Warns:
        DataWarning: rows are left out, or most values of a column are not in the range of the fit.
    """
    _check_given(contents.x, contents.what)
    if schema.series is not None:
        contents = in_series(contents, schema.series, schema.event_shape[0])
    for said in covariates or ():
        check_column(said, [covariate.name for covariate in schema.covariates], "the list of covariates of the model")
    every = {said: np.full(len(contents.x), value, dtype=object) for said, value in (covariates or {}).items()}
    contents = replace(contents, covariates={**(contents.covariates or {}), **every})
    kind, contents = kind_named(schema.kind), in_order_of(_as_read_by(schema.kind, contents), schema)
    kept = None
    if isinstance(kind, LeavesOut):  # results in memory have to be as many as the rows given
        contents, kept = kind.usable(contents, schema, refuse=contents.container in ("list", "frame"))
    x = kind.rows(contents.x, schema, contents.what)
    y, y_test = _numbered(contents, schema, name, len(x))
    num_test = 0
    if contents.x_test is not None:
        x_test = kind.rows(contents.x_test, schema, f"the test part of {name}")
        num_test, x = len(x_test), np.concatenate([x, x_test])
        y = None if y is None or y_test is None else np.concatenate([y, y_test])
    for remark in (*contents.remarks, *in_other_units(x, schema, contents.what)):
        warnings.warn(remark, DataWarning, stacklevel=3)
    notes = (
        *contents.notes,
        *(kind.notes(x, schema, contents.what) if isinstance(kind, LeavesOut) else ()),
        *without_values(x, schema, contents.what),
    )
    return Rows(
        x=x,
        y=y,
        num_test=num_test,
        name=name,
        schema=schema,
        notes=notes,
        numbers=kept,
        covariates=_covariates(contents, schema, kept),
        row_names=contents.row_names,
        starts=contents.starts,
    )


def _as_read_by(kind: str, contents: Contents) -> Contents:
    """The contents with lines in memory, unless the kind of data reads them from the disk."""
    if kind == "text" or not isinstance(contents.x, Lines):
        return contents
    return replace(contents, x=np.array(list(contents.x), dtype=object))


def _inferred(contents: Contents, overrides: Overrides, name: str) -> tuple[Contents, Schema]:
    """The contents of the file of a fit, steps of a table as series if the user names their column, and the schema."""
    if overrides.series is None:
        schema = infer_schema(contents, overrides, name)
        said = None
        if schema.kind in ("table", "counts") and hasattr(contents.x, "iloc"):
            said = steps_in_words(contents.x, contents.what)
        elif schema.kind == "array" and overrides.kind is None:
            said = clips_in_words(contents.x, contents.what)
        return (contents if said is None else replace(contents, remarks=(*contents.remarks, said))), schema
    _check_given(contents.x, contents.what)
    if contents.covariates is not None:
        raise DataError(f"covariates were named beside the series of {contents.what}, which take none; leave them out.")
    contents, left_out = infer_series(contents, overrides)
    schema = infer_schema(contents, overrides, name)
    return contents, replace(schema, left_out=(*schema.left_out, *left_out))


def _covariates(contents: Contents, schema: Schema, kept: np.ndarray | None) -> np.ndarray | None:
    """What the model is given of each row; None if it is given nothing."""
    if not schema.covariates:
        return None
    numbers = covariate_numbers(contents.covariates or {}, schema.covariates, contents.what)
    return numbers if kept is None else numbers[kept]


def _numbered(
    contents: Contents, schema: Schema, name: str, num_rows: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels of both parts as numbers of the schema's classes."""
    what = _labels_of(name)
    if contents.y is not None:
        check_labels(contents.y, num_rows, what)
    if contents.y_test is not None and contents.x_test is not None:
        check_labels(contents.y_test, len(contents.x_test), f"the test labels of {name}")
    parts = (contents.y, contents.y_test)
    numbers = [None if y is None else _as_numbers(y, contents.classes, schema, what) for y in parts]
    return numbers[0], numbers[1]


def _as_numbers(y: np.ndarray, given: tuple[str, ...] | None, schema: Schema, what: str) -> np.ndarray:
    """Labels under the schema; where `y` are numbers of named classes, by the names."""
    if given is not None:
        names = np.array([*given, None], dtype=object)
        y = names[np.where(y < 0, len(given), y).astype(np.int64)]
    return numbered(label_values(array_of_labels(y), what), schema.classes, what)


def _without_label(y: np.ndarray | None, schema: Schema, name: str) -> tuple[str, ...]:
    """A sentence about rows that have no class, if some have."""
    count = 0 if y is None or schema.classes is None else int((y == UNLABELLED).sum())
    if y is None or count == 0:
        return ()
    return (f"{count:,} of {len(y):,} rows of {name} have no label: none is given, or −1, which stands for none.",)


def _labels_of(name: str) -> str:
    return f"the labels of {name}"


def _check_given(x: Given | Array, what: str) -> None:
    check_no_fields(x, what)
    if isinstance(x, np.ndarray) and not x.ndim:
        raise DataError(f"{what} holds a single value; expected rows, such as an array (N, D) or N texts.")
    if isinstance(x, np.ndarray) and x.dtype.kind in "biuf" and not x.size:
        raise DataError(f"{what} is empty (shape {x.shape}); expected rows of numbers.")


def _in_memory(x: Any) -> np.ndarray:
    return np.array(x) if isinstance(x, np.memmap) else x
