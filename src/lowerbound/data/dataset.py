"""A data set: training and test rows, their schema, their labels, and a checksum that identifies them.

The schema says what the numbers mean; the type in which they are stored does not. It is uint8 for levels of pixels,
float32 for intensities and for counts, float64 for tables. A file too large for memory stays on disk, in its own type:
then `x_train` is the whole memory map and `train_rows` lists which of its rows are training rows.

Data with equal values have equal checksums, for every type of file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lowerbound.data.checks import check_array, check_features, check_finite
from lowerbound.data.fingerprint import canonical_dtype, fingerprint, former_fingerprint
from lowerbound.data.labels import array_of_labels
from lowerbound.data.schema import Schema

if TYPE_CHECKING:
    import pandas

    from lowerbound.data.kinds import Kind

from lowerbound.data.sparse import Array

__all__ = ["Dataset"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Rows split into training and test parts.

    Build one with `read_file`, `Dataset.from_frame` or `Dataset.from_array`.

    Attributes:
        name: its name in reports.
        schema: what its numbers mean.
        x_train: training rows (N, *event_shape); a memory map, training and test rows together, where `train_rows` is
            given.
        x_test: test rows (M, *event_shape), always in memory.
        y_train: labels (number of training rows,): int64 numbers of `schema.classes`, −1 where there is none, or
            float32 measurements; None without labels.
        y_test: labels (M,) or None.
        train_rows: which rows of `x_train` are training rows, int64, or None for all of them.
        test_rows: which rows of the file or array the test rows are, int64; None if they are a part of their own.
        usable_rows: which rows of it are in the data at all, int64, where some were left out; None for all.
        source: where the data came from, in words.
        checksum: sha256 of the values and shapes of rows and labels (see `fingerprint`).
        notes: decisions made while reading that the schema does not hold, one sentence each.
        remarks: what may not be what was meant, such as rows that were left out, one sentence each.
        covariates_train: numbers of categories and values (number of training rows, C) of `schema.covariates`, or None.
        covariates_test: the same for the test rows.
        row_names: names of all rows of the file or array, in its order, or None.
        starts: the first times of all series of the file, in its order, on the scale of the schema, or None.
    """

    name: str
    schema: Schema
    x_train: Array
    x_test: np.ndarray
    y_train: np.ndarray | None = None
    y_test: np.ndarray | None = None
    train_rows: np.ndarray | None = None
    test_rows: np.ndarray | None = None
    usable_rows: np.ndarray | None = None
    source: str
    checksum: str
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    covariates_train: np.ndarray | None = None
    covariates_test: np.ndarray | None = None
    row_names: tuple[str, ...] | None = None
    starts: np.ndarray | None = None

    @classmethod
    def checked(
        cls,
        *,
        name: str,
        schema: Schema,
        x_train: Array,
        x_test: np.ndarray,
        y_train: np.ndarray | None = None,
        y_test: np.ndarray | None = None,
        train_rows: np.ndarray | None = None,
        test_rows: np.ndarray | None = None,
        usable_rows: np.ndarray | None = None,
        source: str,
        notes: tuple[str, ...] = (),
        remarks: tuple[str, ...] = (),
        covariates_train: np.ndarray | None = None,
        covariates_test: np.ndarray | None = None,
        row_names: tuple[str, ...] | None = None,
        starts: np.ndarray | None = None,
    ) -> Dataset:
        """Make a data set from stored rows and numbered labels: check them, and compute their checksum.

        Raises:
            DataError: if the arrays fail a check of `lowerbound.data.checks`.
        """
        _check_rows(name, schema, x_train, x_test)
        others = () if covariates_train is None else (covariates_train, covariates_test)
        checksum = fingerprint(
            x_train, x_test, y_train, y_test, *others, train_rows=train_rows, dtype=canonical_dtype(schema)
        )
        return cls(
            name=name,
            schema=schema,
            x_train=x_train,
            x_test=x_test,
            y_train=y_train,
            y_test=y_test,
            train_rows=train_rows,
            test_rows=test_rows,
            usable_rows=usable_rows,
            source=source,
            checksum=checksum,
            notes=notes,
            remarks=remarks,
            covariates_train=covariates_train,
            covariates_test=covariates_test,
            row_names=row_names,
            starts=starts,
        )

    @classmethod
    def from_arrays(
        cls,
        *,
        name: str,
        kind: str,
        x_train: np.ndarray,
        x_test: np.ndarray,
        y_train: np.ndarray | None = None,
        y_test: np.ndarray | None = None,
        train_rows: np.ndarray | None = None,
        feature_names: tuple[str, ...] | None = None,
        label_names: tuple[str, ...] | None = None,
        source: str,
    ) -> Dataset:
        """Make a data set from training and test rows; images have the channels first.

        >>> x = np.eye(4, dtype=np.float32)
        >>> data = Dataset.from_arrays(
        ...     name="eye", kind="table", x_train=x[:3], x_test=x[3:], source="made here")
        >>> data.event_shape, data.num_train, data.num_test
        ((4,), 3, 1)

        Arguments:
            name: of the data.
            kind: name of a kind of data, with options.
            x_train: training rows.
            x_test: test rows.
            y_train: labels, numbers or text; numbers from 0 where `label_names` are given.
            y_test: labels of the test rows.
            train_rows: which rows of `x_train` are training rows; all of them if None.
            feature_names: of the columns of a table.
            label_names: of the classes.
            source: where the data came from, in words.

        Raises:
            DataError: if the arrays fail a check.
        """
        from lowerbound.data.assemble import to_dataset
        from lowerbound.data.contents import Contents
        from lowerbound.data.overrides import Overrides

        contents = Contents(
            what=f"the training part of {name}",
            container="array" if feature_names is None else name,
            x=x_train,
            x_test=x_test,
            y=y_train,
            y_test=y_test,
            label=None if y_train is None else "y",
            classes=label_names,
            names=feature_names,
        )
        return to_dataset(contents, name=name, source=source, overrides=Overrides.said(kind), train_rows=train_rows)

    @classmethod
    def from_frame(
        cls,
        frame: pandas.DataFrame,
        *,
        label: str | None = None,
        kind: str | None = None,
        columns: Mapping[Any, str] | None = None,
        event_shape: tuple[int, ...] | None = None,
        schema: Schema | None = None,
        name: str = "frame",
    ) -> Dataset:
        """Make a data set from a DataFrame; one row in five is held out. The index is no part of the data.

        Arguments:
            frame: rows.
            label: the column of labels.
            kind: name of a kind of data, where the inferred one is not right.
            columns: from names of columns to kinds of column, or "drop", where the inferred ones are not right.
            event_shape: of images whose pixels are the columns.
            schema: that of a fit, which the rows must follow; then nothing is inferred.
            name: of the data.

        Raises:
            DataError: the rows cannot be what is said of them, or fail a check.
        """
        from lowerbound.data.assemble import to_dataset
        from lowerbound.data.overrides import Overrides
        from lowerbound.data.tables import contents_of_frame

        contents = contents_of_frame(frame, label, what=name, container="frame")
        overrides = Overrides.said(kind, columns, event_shape)
        return to_dataset(contents, name=name, source="memory", overrides=overrides, schema=schema)

    @classmethod
    def from_array(
        cls,
        x: Any,
        *,
        y: Any = None,
        kind: str | None = None,
        columns: Mapping[Any, str] | None = None,
        event_shape: tuple[int, ...] | None = None,
        schema: Schema | None = None,
        name: str = "array",
    ) -> Dataset:
        """Make a data set from an array (N, …), which may be sparse; one row in five is held out.

        Arguments:
            x: rows: a table (N, D), images (N, H, W), (N, H, W, C) or (N, C, H, W), or others.
            y: labels (N,), numbers or text.
            kind: name of a kind of data, where the inferred one is not right.
            columns: from numbers of columns, as text, to kinds of column.
            event_shape: of images whose pixels are the columns of a table.
            schema: that of a fit, which the rows must follow; then nothing is inferred.
            name: of the data.

        Raises:
            DataError: the rows cannot be what is said of them, or fail a check.
        """
        from lowerbound.data.arrays import dense
        from lowerbound.data.assemble import to_dataset
        from lowerbound.data.contents import Contents
        from lowerbound.data.overrides import Overrides

        labels = None if y is None else array_of_labels(y)
        contents = Contents(what=name, container="array", x=dense(x, name), y=labels, label=None if y is None else "y")
        overrides = Overrides.said(kind, columns, event_shape)
        return to_dataset(contents, name=name, source="memory", overrides=overrides, schema=schema)

    def __repr__(self) -> str:
        """What the data are and how many rows there are, without the rows.

        >>> Dataset.from_array(np.arange(30).reshape(10, 3) / 7, name="mine")
        Dataset 'mine' (table): 8 training and 2 test rows of 3
        """
        shape = " x ".join(map(str, self.event_shape))
        labels = "" if self.y_train is None else ", with labels"
        if self.label_names is not None:
            labels = f", with labels of {len(self.label_names):,} classes"
        rows = f"{self.num_train:,} training and {self.num_test:,} test rows"
        return f"Dataset {self.name!r} ({self.kind}): {rows} of {shape}{labels}"

    @property
    def kind(self) -> str:
        """The name of the kind of data."""
        return self.schema.kind

    @property
    def kind_of_data(self) -> Kind:
        """The kind, which reads, prepares and renders the data."""
        from lowerbound.data.kinds import kind_named

        return kind_named(self.schema.kind)

    @property
    def default_likelihood(self) -> str:
        """The default likelihood, as `spelling` spells it."""
        return self.kind_of_data.default_likelihood(self.schema)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.x_test.shape[1:])

    @property
    def num_train(self) -> int:
        """How many training rows there are."""
        return len(self.x_train) if self.train_rows is None else len(self.train_rows)

    @property
    def train_numbers(self) -> np.ndarray | None:
        """Which rows of the file or array the training rows are, int64; None if they are a part of their own."""
        if self.test_rows is None:
            return None
        every = np.arange(self.num_train + self.num_test) if self.usable_rows is None else self.usable_rows
        return np.setdiff1d(every, self.test_rows)

    @property
    def num_test(self) -> int:
        """How many test rows there are."""
        return len(self.x_test)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of a table's columns, if they have names."""
        return self.schema.column_names if self.schema.has_names else None

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The name of each class, if labels are classes."""
        return self.schema.classes

    @property
    def pixel_scale(self) -> float | None:
        """The stored value that stands for intensity 1: 255 for bytes of an image, None for other values."""
        return None if self.schema.pixel_levels is None else float(self.schema.pixel_levels - 1)

    @property
    def scaling(self) -> str:
        """How stored numbers become the numbers a model sees, as a sentence."""
        if self.pixel_scale is not None:
            scale = f"{self.pixel_scale:g}"
            return f"Pixels are levels k in 0..{scale} and stand for the intensities k / {scale}."
        if self.kind == "image":
            return "Intensities are used as stored, without rescaling."
        return "Columns are used as stored, in their own units, unless a transform standardises them."

    @cached_property
    def legacy_checksum(self) -> str:
        """The checksum by which runs without a schema know these data.

        That checksum was of values rounded to float32 and of class numbers as in the file. A table must be read with
        `columns={"*": "continuous"}`, because at that time no column was left out.
        """
        return former_fingerprint(
            self.schema, self.x_train, self.x_test, self.y_train, self.y_test, train_rows=self.train_rows
        )


def _check_rows(name: str, schema: Schema, x_train: Array, x_test: np.ndarray) -> None:
    missing = schema.columns is not None or schema.kind in ("array", "series")
    columns = schema.column_names if schema.has_names else None
    check_array(x_train, f"the training part of {name}", columns, missing=missing)
    check_features(x_train, schema.event_shape, f"the training part of {name}")
    check_features(x_test, schema.event_shape, f"the test part of {name}")
    check_finite(x_test, f"the test part of {name}", columns, missing=missing)
