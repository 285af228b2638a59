"""Tables of polars, pyarrow and other libraries that know how to become a pandas DataFrame."""

from __future__ import annotations

from typing import Any

from lowerbound.data.errors import DataError

__all__ = ["in_pandas"]


def in_pandas(data: Any) -> Any:
    """A table that has columns and `to_pandas` as a DataFrame; anything else as it is.

    Raises:
        DataError: the table cannot become one, as without pyarrow.
    """
    if hasattr(data, "iloc") or not (hasattr(data, "columns") and hasattr(data, "to_pandas")):
        return data
    try:
        return data.to_pandas()
    except ImportError as error:
        raise DataError(
            f"X is a table of {type(data).__module__}, which takes pyarrow ({error}); install it."
        ) from None
