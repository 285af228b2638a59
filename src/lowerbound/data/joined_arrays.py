"""Several arrays of an archive as one table: the modalities of the same rows, such as images and their labels.

An array (N, …) gives the columns NAME_0, NAME_1, …, in the order of its entries, and one (N,) the column NAME. Names
are asked for together: `array="image,label"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lowerbound.data.errors import DataError, clipped

if TYPE_CHECKING:
    import pandas

__all__ = ["joined"]


def joined(arrays: Mapping[str, np.ndarray], what: str) -> pandas.DataFrame:
    """A DataFrame of the columns of all arrays.

    Raises:
        DataError: arrays of different numbers of rows, or of no rows, or pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise DataError("several arrays together need pandas: pip install 'lowerbound[tables]'.") from error
    first, length = next((name, len(x)) for name, x in arrays.items())
    for name, x in arrays.items():
        if len(x) != length:
            raise DataError(
                f"block '{clipped(name, 40)}' of {what} has {len(x):,} rows and '{clipped(first, 40)}' has {length:,}; "
                "give the same rows in each, NaN where one is not known."
            )
    frames = [pandas.DataFrame(x.reshape(length, -1), columns=_names(name, x)) for name, x in arrays.items()]
    return pandas.concat(frames, axis=1)


def _names(name: str, x: np.ndarray) -> list[str]:
    if x.ndim == 1:
        return [name]
    return [f"{name}_{i}" for i in range(int(np.prod(x.shape[1:])))]
