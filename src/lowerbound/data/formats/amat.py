"""The text format of Larochelle's binarized MNIST: a line for each row, of digits 0 and 1 with a space between them.

Every digit is followed by one byte, a space or the end of the line, so that rows can be cut from the bytes of the file
without parsing 47 million numbers.
"""

from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError

__all__ = ["read_amat"]

_ZERO, _SPACE, _NEWLINE = b"0 \n"


def read_amat(path: Path, num_columns: int) -> np.ndarray:
    """The rows (N, num_columns), uint8, 0 or 1.

    Raises:
        DataError: a line is not `num_columns` digits 0 and 1 with single spaces between them.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if len(content) == 0 or len(content) % (2 * num_columns):
        raise _not_such(path, num_columns)
    rows = content.reshape(-1, num_columns, 2)
    values, between = rows[..., 0] - _ZERO, rows[..., 1]
    if values.max() > 1 or (between[:, :-1] != _SPACE).any() or (between[:, -1] != _NEWLINE).any():
        raise _not_such(path, num_columns)
    return values


def _not_such(path: Path, num_columns: int) -> DataError:
    return DataError(
        f"'{path.name}' is not lines of {num_columns} digits 0 and 1 with a space between them: remove it and "
        "get it again."
    )
