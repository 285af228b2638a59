"""Matlab's .mat files up to version 7, read by scipy, which does not execute their contents.

The names and shapes of a file's variables are checked before any is read, because a small file can hold a huge one.
"""

import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError

__all__ = ["read_matlab"]

_BROKEN = (OSError, EOFError, ValueError, TypeError, KeyError, NotImplementedError, zlib.error)
_MOST_VALUES = 2**26


def read_matlab(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Numeric variables of a file, in the order of their names.

    Raises:
        DataError: the file is not readable, or a variable is missing, not numeric or larger than 2²⁶ values.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        for name in names:
            if name not in shapes or not 0 < np.prod(shapes[name], dtype=np.float64) <= _MOST_VALUES:
                raise _not_such(path, name)
        content = loadmat(path, variable_names=list(names))
    except DataError:
        raise
    except (*_BROKEN, MatReadError) as error:
        raise DataError(f"'{path.name}' is not a readable .mat file: remove it and get it again.") from error
    for name in names:
        if not isinstance(content[name], np.ndarray) or content[name].dtype.kind not in "biuf":
            raise _not_such(path, name)
    return tuple(content[name] for name in names)


def _not_such(path: Path, name: str) -> DataError:
    return DataError(f"'{path.name}' has no array of numbers '{name}' of a usual size: remove it and get it again.")
