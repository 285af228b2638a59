"""Tables: columns of different kinds, possibly with gaps.

The rules that infer the kind of a column are in `data.columns`. The default likelihood is the simplest that fits
all columns: a Gaussian with a scale for each column if all are continuous, Bernoulli if all are 0 and 1, and otherwise,
or if there are gaps, one that is spelled column by column ("mixed").

Columns are standardised if the likelihood asks for it. Under others of real numbers, such as "mixed", they keep their
units, but columns whose values vary by less than a hundredth of their mean (time stamps) are centred, because float32
could not distinguish their values. Under "mixed" columns of very small or large numbers, whose squares float32 could
not hold, are divided by a power of two. Neither changes a score in the units of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import numpy as np

from lowerbound.data.checks import check_numeric, check_width
from lowerbound.data.column_labels import levels_of, with_labels
from lowerbound.data.columns import infer_columns, long_tailed, step_for_skewness
from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.overrides import Overrides
from lowerbound.data.rows_of_columns import frame_of_rows, rounded, rows_of_table, wide_enough
from lowerbound.data.scales import scale_of
from lowerbound.data.schema import Column, Schema
from lowerbound.data.sparse import ARRAYS, DENSE, STAYS, Array
from lowerbound.data.transform import Identity, Pixels, Standardize, Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Table", "columns_spelling", "mixed_spelling"]

_SPELLED = {"date": "continuous", "boolean": "categorical"}
_SHOWN = 8
_LARGEST_TABLED, _MOST_TABLED = 20, 500


class Table:
    """Rows of columns."""

    name = "table"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """A DataFrame, or an array (N, D)."""
        return not isinstance(contents.x, DENSE) or contents.x.ndim == 2

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """A kind for each column.

        Raises:
            DataError: a column cannot be what the user says, or nothing is left to learn from.
        """
        x = both_parts(contents)
        check_axes(x, contents.what)
        columns, left_out = infer_columns(x, overrides, contents.what, contents.names)
        schema = table_schema(self.name, contents, x, columns, left_out)
        mixed = _is_mixed(columns)
        if not mixed and not all(map(_may_be_scale, columns)):
            return schema
        if isinstance(x, ARRAYS) and contents.names is not None:
            x = x[:, [contents.names.index(column.name) for column in columns]]
        rows = rows_of_table(x, schema, contents.what)
        rows = rows[:: step_for_skewness(len(rows))] if isinstance(rows, STAYS) else rows
        known = [
            _by_values(column, rows[:, i], overrides, scales=not isinstance(x, STAYS))
            for i, column in enumerate(schema.columns or ())
        ]
        if mixed or all(column.kind == "ordinal" for column in known):
            schema = replace(schema, columns=tuple(known))
        return schema

    def rows(self, given: Given | Array, schema: Schema, what: str) -> Array:
        """Numbers unchanged, categories as their numbers, NaN for gaps; rows on disk stay there."""
        if isinstance(given, ARRAYS):
            check_numeric(given, what)
        return rows_of_table(given, schema, what)

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
        log_columns: Sequence[str] = (),
    ) -> Transform:
        """`Standardize` if the likelihood asks for it, `within_range` under others of real numbers, else `Identity`.

        `log_columns` are on the scale of their logarithm.

        Raises:
            ValueError: logarithms under another likelihood.
        """
        if log_columns and facts.domain != "reals":
            raise ValueError(
                f"log_columns names '{log_columns[0][:40]}' and the likelihood is not one of real numbers; leave "
                "log_columns out, or take a likelihood such as normal."
            )
        if binarization in ("dynamic", "threshold"):
            return Pixels(scale=None, binarization=binarization)
        names, rows = dataset.feature_names, dataset.train_rows
        wanted = facts.standardized if standardize == "auto" else standardize
        if log_columns or (wanted and facts.domain != "columns"):
            logs = np.isin(dataset.schema.column_names or (), log_columns) if log_columns else None
            return Standardize.fit(dataset.x_train, rows=rows, columns=names, logs=logs, scaled=wanted)
        if facts.domain not in ("reals", "columns"):  # what is taken from a count is no count
            return Identity()
        columns = dataset.schema.columns or ()
        real = np.array([column.kind in ("continuous", "date") for column in columns])
        scaled = real | np.array([column.kind == "positive" for column in columns])
        if facts.domain == "reals":  # whose floors are in the units of x
            scaled &= False
        known = (real | scaled).any()
        return Standardize.within_range(dataset.x_train, real, scaled, rows=rows) if known else Identity()

    def default_likelihood(self, schema: Schema) -> str:
        """The simplest that fits all columns."""
        assert schema.columns is not None
        if not _is_mixed(schema.columns):
            kinds = {column.kind for column in schema.columns}
            return {"boolean": "bernoulli", "count": "negative-binomial"}.get(
                kinds.pop() if len(kinds) == 1 else "", "normal:scale=per-dimension"
            )
        return mixed_spelling(schema.columns)

    def describe(self, schema: Schema) -> list[str]:
        """How many columns of which kind, by name; those that do not vary, and those left out with the reason."""
        columns = schema.columns or ()
        kinds = dict.fromkeys(column.kind for column in columns)
        lines = [f"Table of {len(columns)} column{'s' if len(columns) > 1 else ''}."]
        for kind in kinds:
            mine = [_words(column) for column in columns if column.kind == kind]
            lines.append(f"  {kind}: {_listed(mine)}")
        gaps = [f"{column.name} ({column.missing:,})" for column in columns if column.missing]
        if gaps:
            lines.append(f"  with gaps: {_listed(gaps)}")
        usual = [
            f"{column.name} ({column.usual_share:.0%} to {column.usual_decimals})"
            for column in columns
            if column.usual_share is not None
        ]
        if usual:
            lines.append(f"  mostly with fewer digits, and so are draws: {_listed(usual)}")
        constant = [column.name for column in columns if column.low is not None and column.low == column.high]
        if constant:  # of an array of counts or of 0 and 1
            lines.append(f"  one value only: {_listed(constant)}")
        few = [f"{column.name} ({column.distinct})" for column in columns if column.distinct is not None]
        if few:
            lines.append(f"  on few values: {_listed(few)}")
        if schema.left_out:
            lines.append(f"  left out: {_listed([f'{item.name} ({item.reason})' for item in schema.left_out])}")
        return lines

    def render(self, x: np.ndarray, schema: Schema) -> Given:
        """The user's DataFrame, or an array of the user's type where columns have no names."""
        if schema.has_names:
            return frame_of_rows(np.asarray(x), schema)
        assert schema.columns is not None
        x = np.asarray(x, dtype=np.float64)
        values = np.stack([_values(x[:, i], column) for i, column in enumerate(schema.columns)], 1)
        values = schema.with_constants(values)
        if np.dtype(schema.dtype).kind not in "f" and np.isnan(values).any():
            return values
        whole = np.dtype(schema.dtype).kind in "iu"
        return values.astype(wide_enough(values, schema.dtype) if whole else schema.dtype)


def check_axes(x: Given | Array, what: str) -> None:
    """Refuse an array that is no table, and a table of more columns than each can be described by itself.

    Raises:
        DataError: giving its shape.
    """
    if len(x.shape) == 2:
        check_width(x.shape[1], what)
    if isinstance(x, DENSE) and x.ndim != 2:
        raise DataError(f"{what} has shape {x.shape}; expected a table (N, D): reshape it, or say another kind.")


def both_parts(contents: Contents) -> Given | Array:
    """Training and test rows together, because both are needed to infer the kind of a column."""
    if contents.x_test is None:
        return contents.x
    if isinstance(contents.x, np.ndarray) and isinstance(contents.x_test, np.ndarray):
        if contents.x.ndim != contents.x_test.ndim:
            raise DataError(f"the training and test parts of {contents.what} differ in their number of axes.")
        if contents.x.shape[1:] == contents.x_test.shape[1:]:
            return np.concatenate([contents.x, contents.x_test])
    return contents.x


def table_schema(
    name: str, contents: Contents, x: Given | Array, columns: Sequence[Column], left_out: Sequence
) -> Schema:
    """A schema of columns."""
    labels = () if isinstance(x, ARRAYS) else x.columns
    return Schema(
        kind=name,
        event_shape=(len(columns),),
        container=contents.container,
        dtype=str(x.dtype) if isinstance(x, ARRAYS) else "float64",
        columns=with_labels(columns, labels),
        left_out=tuple(left_out),
        array=contents.array,
        levels=levels_of(labels),
    )


def mixed_spelling(columns: Sequence[Column]) -> str:
    """The likelihood that names the kind of each column in order.

    >>> mixed_spelling([Column(name=k, kind=k) for k in ("continuous", "date", "count")])
    'mixed:columns=2*continuous+count'
    """
    return f"mixed:columns={columns_spelling(columns)}"


def columns_spelling(columns: Sequence[Column], *, tabled: bool = False) -> str:
    """The kind of each column in order, as `likelihoods.Mixed` takes them.

    Arguments:
        columns: their kinds.
        tabled: whether counts of few values have a table (`small-count`): of columns up to 20, if their tables are of
            at most 500 entries together.

    >>> columns_spelling([Column(name="a", kind="count", high=4.0), Column(name="b", kind="date")], tabled=True)
    'small-count-5+continuous'
    """
    small = [i for i, column in enumerate(columns) if tabled and _is_small(column)]
    if sum(int(columns[i].high or 0) + 2 for i in small) > _MOST_TABLED:
        small = []
    words = [f"small-count-{int(c.high or 0) + 1}" if i in small else _spelled(c) for i, c in enumerate(columns)]
    parts = []
    for word, same in groupby(words):
        count = len(list(same))
        parts.append(word if count == 1 else f"{count}*{word}")
    return "+".join(parts)


def _is_small(column: Column) -> bool:
    return column.kind == "count" and column.high is not None and 1 <= column.high <= _LARGEST_TABLED


def _spelled(column: Column) -> str:
    word = _SPELLED.get(column.kind, column.kind)
    return word if word not in ("categorical", "ordinal") else f"{word}-{len(column.categories or ())}"


def _is_mixed(columns: Sequence[Column]) -> bool:
    """Whether no likelihood of one kind fits all columns."""
    kinds = {"continuous" if column.kind == "date" else column.kind for column in columns}
    alike = len(kinds) == 1 and kinds <= {"continuous", "boolean", "count"}
    return not alike or any(column.missing for column in columns)


def _by_values(column: Column, x: np.ndarray, overrides: Overrides, *, scales: bool) -> Column:
    """The column; as ordinal on a scale and as positive if it is long-tailed, where the user did not say otherwise."""
    if overrides.of(column.name) is not None or column.low is None:
        return column
    scale = scale_of(np.asarray(x)) if scales and _may_be_scale(column) else None
    if scale is not None:
        numbers = tuple(str(number) for number in range(scale[0], scale[1] + 1))
        return replace(column, kind="ordinal", categories=numbers, distinct=None)
    tailed = column.kind == "continuous" and column.low > 0 and long_tailed(x)
    return replace(column, kind="positive") if tailed else column


def _may_be_scale(column: Column) -> bool:
    return column.kind in ("count", "continuous") and column.decimals == 0 and column.high is not None


def _values(x: np.ndarray, column: Column) -> np.ndarray:
    """Values of a column without a name: categories of numbers are numbers."""
    numbers = rounded(x, column)
    if column.categories is None or column.categories == ("False", "True"):
        return numbers
    values = np.array([float(name) for name in column.categories])
    return np.where(np.isnan(numbers), np.nan, values[np.nan_to_num(numbers).astype(np.int64)])


def _words(column: Column) -> str:
    if column.categories is None or column.kind == "boolean":
        return column.name
    return f"{column.name} ({len(column.categories)})"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f", … ({len(words)} in all)" if len(words) > _SHOWN else "")
