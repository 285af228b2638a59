"""Reading tables with pandas: .csv, .tsv (both also .gz) and .parquet, and taking a DataFrame apart.

Missing cells stay missing. The kind of data decides what a column is, and whether it is part of the data
(`data.columns`).
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lowerbound.data.checks import SAVED_AS_AN_ARRAY, check_column, check_width
from lowerbound.data.contents import Contents
from lowerbound.data.delimited import look_at
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.labels import spells_a_number
from lowerbound.data.unnamed_index import has_no_name, is_index, what_it_does

if TYPE_CHECKING:
    import pandas

__all__ = ["contents_of_frame", "read_table", "values_of_column"]

_ROWS_LOOKED_AT = 10_000
_CODE = r"0\d+"
_BROKEN = (
    ValueError, OSError, EOFError, zlib.error, struct.error, KeyError, TypeError, AttributeError, IndexError,
    NotImplementedError, MemoryError, OverflowError, RecursionError,
)  # fmt: skip


def read_table(path: Path, label: str | None, usual_label: str | None = None) -> Contents:
    """Read the columns of a table, and its labels.

    Arguments:
        path: a .csv, .tsv or .parquet file.
        label: the column of labels, or None.
        usual_label: the column of labels, if there is one of that name and no other is named.

    Raises:
        DataError: if the file cannot be read, or has no line of names.
    """
    is_parquet = path.name.lower().endswith(".parquet")
    frame = _read_frame(path, is_parquet)
    index, named = None if is_parquet else _check_header(frame, path), [name for name in frame.index.names if name]
    if label is None and usual_label in [str(name) for name in frame.columns]:
        label = usual_label
    notes = ()
    if index is not None:
        what = what_it_does(frame[index])
        frame = frame.set_index(index).rename_axis(None)
        notes = (f"The first column of {clipped(path.name)} has no name and {what} its rows; it was left out.",)
    if is_parquet and named:
        index_names = ", ".join(f"'{clipped(str(name))}'" for name in named)
        notes = (f"The index of {clipped(path.name)} ({index_names}) names its rows; it was left out.",)
    container = "parquet" if is_parquet else "csv"
    return contents_of_frame(frame, label, what=clipped(path.name), container=container, notes=notes)


def contents_of_frame(
    frame: pandas.DataFrame, label: str | None, *, what: str, container: str, notes: tuple[str, ...] = ()
) -> Contents:
    """A DataFrame as rows and labels.

    Raises:
        DataError: it is empty, or there is no such label.
    """
    y = None
    if label is not None:
        names = [str(name) for name in frame.columns]
        check_column(label, names, what)
        place = names.index(label)
        y = values_of_column(frame.iloc[:, place])
        frame = frame.iloc[:, [i for i in range(len(names)) if i != place]]
    if frame.shape[1] == 0 or frame.shape[0] == 0:
        raise DataError(f"{what} is empty: expected rows of at least one column beside the label.")
    return Contents(what=what, container=container, x=frame, y=y, label=label, notes=notes)


def _read_frame(path: Path, is_parquet: bool) -> Any:
    try:
        import pandas

        if is_parquet:
            from pyarrow.parquet import read_metadata

            check_width(read_metadata(path).num_columns, clipped(path.name), SAVED_AS_AN_ARRAY)
            return pandas.read_parquet(path, engine="pyarrow", use_threads=False)  # with threads six times the memory
        format = look_at(path)
        _check_names(format.names, path)
        read = partial(
            pandas.read_csv,
            path,
            sep=format.delimiter,
            decimal=format.decimal,
            thousands=format.thousands,
            index_col=False,
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8-sig",
        )
        frame = read()
        codes = _codes(frame, read)
        return read(dtype=dict.fromkeys(codes, str)) if codes else frame
    except ImportError as error:
        raise DataError(
            f"reading '{clipped(path.name)}' needs pandas and pyarrow: pip install 'lowerbound[tables]'."
        ) from error
    except DataError:
        raise
    except _BROKEN as error:
        detail = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        remedy = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else "save it again"
        raise DataError(
            f"'{clipped(path.name)}' is not a readable table ({clipped(detail.rstrip('.'), 120)}): {remedy}."
        ) from error


def _codes(frame: pandas.DataFrame, read: Callable[..., pandas.DataFrame]) -> list[str]:
    """Columns of whole numbers that are written as codes, with zeros in front ("01234"); by the first 10,000 rows."""
    whole = [name for name in frame.columns if frame[name].dtype.kind in "iu"]
    if not whole:
        return []
    written = read(usecols=whole, dtype=str, nrows=_ROWS_LOOKED_AT)
    return [name for name in whole if bool(written[name].str.fullmatch(_CODE).any())]


def _check_names(names: tuple[str, ...], path: Path) -> None:
    """Refuse a first line in which two columns have the same name."""
    repeated = next((name for name, count in Counter(names).items() if count > 1 and name.strip()), None)
    if repeated is not None:
        raise DataError(f"{clipped(path.name)} has two columns named '{clipped(repeated)}'; rename one of them.")


def _check_header(frame: pandas.DataFrame, path: Path) -> str | None:
    """The name that pandas gave to a first column without one, if it numbers or names the rows.

    Raises:
        DataError: another column has no name, or the first line holds numbers.
    """
    names = [str(column) for column in frame.columns]
    unnamed = [i for i, name in enumerate(names) if has_no_name(name)]
    if unnamed == [0] and len(names) > 1 and is_index(frame.iloc[:, 0]):
        return frame.columns[0]
    if unnamed:
        raise DataError(
            f"column {unnamed[0]} of {clipped(path.name)} has no name: write one into the first line, or delete it."
        )
    positions = [str(i) for i in range(len(names))]
    if names and names != positions and all(spells_a_number(name) for name in names):
        raise DataError(
            f"the first line of {clipped(path.name)} holds numbers; expected a line of column names: add one."
        )
    return None


def values_of_column(column: Any) -> np.ndarray:
    """Labels as numbers with NaN where missing, booleans, or objects."""
    import pandas

    if isinstance(column.dtype, pandas.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype if not column.hasnans else object)
    if pandas.api.types.is_bool_dtype(column.dtype) or pandas.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan) if column.hasnans else column.to_numpy()
    return column.astype(object).to_numpy()
