"""Columns of numbers of a Parquet file, read one group of rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.checks import check_column
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.on_disk import Stamp

__all__ = ["ParquetRows", "bytes_of", "holds_rows"]


class ParquetRows:
    """The columns of a Parquet file as rows; gaps are NaN.

    Arguments:
        path: the file.
        label: a column that is no part of the rows.

    Attributes:
        names: of the columns.

    Raises:
        DataError: it cannot be read, or a column holds no numbers.
    """

    def __init__(self, path: Path, label: str | None):
        self.stamp = Stamp.of(path)
        file = _opened(self.stamp.path)
        schema = file.schema_arrow
        if label is not None:
            check_column(label, schema.names, clipped(path.name))
        self.label = label
        self.names = tuple(name for name in schema.names if name != label)
        for name in self.names:
            _refuse_text(schema.field(name), path)
        if not self.names:
            raise DataError(f"'{clipped(path.name)}' has no column beside the label; give columns of numbers.")
        self.name = [label, *self.names]
        types = [schema.field(name).type.to_pandas_dtype() for name in self.names]
        # whole numbers of more than 16 bits may have gaps, which are NaN; float64 holds them up to 2⁵³
        self.dtype = np.dtype(np.float32 if set(types) == {np.float32} else np.float64)
        self.event_shape = (len(self.names),)
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self._groups = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.num_rows, self.units = int(self._groups[-1]), np.unique(self._groups)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `Part`."""
        start, stop = int(rows[0]), int(rows[-1]) + 1
        first = int(np.searchsorted(self._groups, start, side="right")) - 1
        last = int(np.searchsorted(self._groups, stop, side="left"))
        table = self._columns(list(range(first, last)), list(self.names))
        found = np.empty((table.num_rows, len(self.names)), self.dtype)
        for i, name in enumerate(self.names):
            found[:, i] = table.column(name).to_pandas().to_numpy(dtype=self.dtype, na_value=np.nan)
        return found[start - self._groups[first] : stop - self._groups[first]]

    def labels(self) -> Any:
        """The column of labels, a Series."""
        return self._columns(None, [self.label]).column(self.label).to_pandas()

    def _columns(self, groups: list[int] | None, names: list[Any]) -> Any:
        import pyarrow

        file = _opened(self.stamp.path)
        try:
            return file.read(names) if groups is None else file.read_row_groups(groups, names)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _unreadable(self.stamp.path) from error


def bytes_of(path: Path) -> int:
    """The bytes that a Parquet file takes in memory, about: those of its columns before compression.

    Raises:
        DataError: it cannot be read.
    """
    metadata = _opened(path).metadata
    return sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))


def holds_rows(path: Path) -> bool:
    """Whether a Parquet file has a row; a part of a table that was filtered may have none.

    Raises:
        DataError: it cannot be read.
    """
    return _opened(path).metadata.num_rows > 0


def _refuse_text(field: Any, path: Path) -> None:
    import pyarrow.types as types

    if not (types.is_integer(field.type) or types.is_floating(field.type) or types.is_boolean(field.type)):
        raise DataError(
            f"column '{clipped(field.name, 40)}' of '{clipped(path.name)}' holds {field.type}; shards that stay on "
            "disk take columns of numbers: leave it out, or turn it into numbers."
        )


def _opened(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"reading '{clipped(path.name)}' needs pyarrow: pip install 'lowerbound[tables]'.") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> DataError:
    return DataError(f"'{clipped(path.name)}' is not a readable .parquet file; it may be cut short: save it again.")
