"""Reading tables with pandas: .csv, .csv.gz and .parquet.

Every column but the label must be numbers. A column of text, a missing value or a file without a
line of column names is refused with the place where it was found; nothing is guessed, dropped or
filled.
"""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lowerbound.data.checks import check_column, check_finite
from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError

if TYPE_CHECKING:
    import pandas

__all__ = ["read_table"]


def read_table(path: Path, label: str | None) -> Contents:
    """Read the numeric columns of a table, and its labels.

    Arguments:
        path: a .csv, .csv.gz or .parquet file.
        label: the column of labels, or None.

    Raises:
        DataError: if the file cannot be read, a feature column is not numeric, or a value is
            missing.
    """
    frame = _read_frame(path)
    _check_header(frame, path)
    y = None
    if label is not None:
        check_column(label, frame.columns, path.name)
        y = _label_values(frame.pop(label))
    if frame.shape[1] == 0 or frame.shape[0] == 0:
        raise DataError(f"{path.name} is empty: expected rows of at least one numeric column.")
    names = tuple(str(column) for column in frame.columns)
    columns = [_numbers(frame[column], name, path) for column, name in zip(frame, names, strict=True)]
    x = np.column_stack(columns)
    check_finite(x, path.name, names)
    return Contents(what=path.name, x=x, y=y, feature_names=names)


def _read_frame(path: Path) -> Any:
    try:
        import pandas

        if path.name.lower().endswith(".parquet"):
            return pandas.read_parquet(path, engine="pyarrow")
        return pandas.read_csv(path, low_memory=False)
    except ImportError as error:
        raise DataError(f"reading '{path.name}' needs pandas and pyarrow: pip install 'lowerbound[tables]'.") from error
    except (ValueError, OSError, EOFError, zlib.error) as error:
        detail = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"'{path.name}' is not a readable table ({detail.rstrip('.')}): save it again.") from error


def _check_header(frame: "pandas.DataFrame", path: Path) -> None:
    names = [str(column) for column in frame.columns]
    unnamed = [i for i, name in enumerate(names) if not name.strip() or name.startswith("Unnamed: ")]
    if unnamed:
        raise DataError(
            f"column {unnamed[0]} of {path.name} has no name, as a saved row index has: name it or leave it out."
        )
    positions = [str(i) for i in range(len(names))]
    if names and names != positions and all(_is_number(name) for name in names):
        raise DataError(f"the first line of {path.name} holds numbers; expected a line of column names: add one.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(column: Any, name: str, path: Path) -> np.ndarray:
    """A column as float64, NaN where a value is missing."""
    import pandas

    if pandas.api.types.is_bool_dtype(column.dtype) or pandas.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = column.astype(object)
    numbers: Any = pandas.to_numeric(values, errors="coerce")
    is_date = pandas.api.types.is_datetime64_any_dtype(column.dtype)
    wrong = values.notna() if is_date else numbers.isna() & values.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise DataError(
            f"column '{name}' of {path.name} is not numeric: it holds '{values.iloc[row]}' at row "
            f"{row}; leave the column out, turn it into numbers, or pass it as label='{name}'."
        )
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _label_values(column: Any) -> np.ndarray:
    import pandas

    if pandas.api.types.is_bool_dtype(column.dtype) or pandas.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan) if column.hasnans else column.to_numpy()
    return column.astype(object).to_numpy()
