"""Counts: a table of 0, 1, 2, … most columns of which reach down to 0, such as words in documents or reads of genes.

It is a table whose columns are all of one kind, also those that happen to hold only 0 and 1, or large numbers. A table
that holds only 0 and 1 is no table of counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lowerbound.data.annotated import ANNOTATED
from lowerbound.data.blocks import row_blocks
from lowerbound.data.columns import infer_columns
from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.table import Table, both_parts, check_axes, table_schema
from lowerbound.data.measured import measure
from lowerbound.data.overrides import Overrides
from lowerbound.data.scales import scale_of
from lowerbound.data.schema import Column, Schema
from lowerbound.data.sparse import ARRAYS, IN_FILES, STAYS, Array

__all__ = ["Counts"]

_LARGEST_OF_BYTES = 255


class Counts(Table):
    """Rows of counts."""

    name = "counts"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """A table of whole numbers, none negative, most columns of which reach down to 0, with a number above 1; of
        cells by genes any with a number above 1.
        """
        if not super().matches(contents, overrides) or any(word != "drop" for word in overrides.columns.values()):
            return False
        if contents.container in ANNOTATED and isinstance(contents.x, ARRAYS):
            return bool(contents.x.max(initial=0) > 1)
        if isinstance(contents.x, ARRAYS):
            return _are_counts(contents.x)
        numbers = contents.x.select_dtypes("number", exclude=["timedelta", np.complexfloating])
        if not len(numbers.columns) or not _are_counts(numbers.to_numpy(dtype=np.float64, na_value=np.nan)):
            return False
        if len(numbers.columns) == len(contents.x.columns) and not overrides.columns:
            return True
        columns, _ = infer_columns(contents.x, overrides, contents.what)  # text may be left out
        return all(map(_is_count, columns)) and max(column.high or 0 for column in columns) > 1

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """All columns are counts.

        Raises:
            DataError: one holds a value that is no count.
        """
        x = both_parts(contents)
        check_axes(x, contents.what)
        columns, left_out = infer_columns(x, overrides, contents.what, contents.names)
        strange = next((column for column in columns if not _is_count(column)), None)
        if strange is not None:
            raise DataError(
                f"column '{strange.name[:40]}' of {contents.what} holds what is no count; expected 0, 1, 2, …: "
                "drop it, or say kind='table'."
            )
        counts = [replace(column, kind="count", categories=None) for column in columns]
        return table_schema(self.name, contents, x, counts, left_out)

    def default_likelihood(self, schema: Schema) -> str:
        """Negative binomial; column by column if there are gaps."""
        return super().default_likelihood(schema)

    def describe(self, schema: Schema) -> list[str]:
        """How many columns, the largest count, and what was left out."""
        columns = schema.columns or ()
        highest = max((column.high or 0 for column in columns), default=0)
        many = "s" if len(columns) > 1 else ""
        lines = [f"Counts in {len(columns)} column{many}, up to {highest:,.0f}.", *super().describe(schema)[2:]]
        if highest == _LARGEST_OF_BYTES and not schema.has_names:
            lines.append("  If these are pixels, say kind='image:event_shape=[H,W]'.")
        return lines

    def rows(self, given: Given | Array, schema: Schema, what: str) -> Array:
        """Counts as float32 if that holds them exactly; rows on disk stay there."""
        rows = super().rows(given, schema, what)
        if isinstance(rows, IN_FILES) or rows.dtype == np.float32:
            return rows
        exact = all(bool((np.abs(np.nan_to_num(block)) <= 2**24).all()) for _, block in row_blocks(rows))
        return rows.astype(np.float32) if exact else rows


def _is_count(column: Column) -> bool:
    """Whether a column holds whole numbers from 0 on, and neither dates nor names."""
    numeric = column.kind in ("count", "continuous", "boolean") and column.categories in (None, ("0", "1"))
    return numeric and column.decimals == 0 and column.low is not None and column.low >= 0


def _are_counts(x: Array) -> bool:
    """Whether an array has whole numbers, none negative, one above 1, and most of its columns reach down to 0; but for
    one whose columns are all on a scale.
    """
    if x.dtype.kind not in "iuf":
        return False
    high = 0.0
    for _, block in row_blocks(x):
        known = block[~np.isnan(block)]
        if len(known) and (known.min() < 0 or not np.isfinite(known).all() or (known != np.round(known)).any()):
            return False
        if len(known):
            high = max(high, float(known.max()))
    if high <= 1 or 2 * int(measure(x).near_zero.sum()) <= x.shape[1]:
        return False
    return isinstance(x, STAYS) or any(scale_of(np.asarray(x[:, i])) is None for i in range(x.shape[1]))
