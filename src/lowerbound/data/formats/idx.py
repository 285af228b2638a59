"""The format of MNIST's files: bytes 0, 0, 8, number of axes; each length as a 32-bit big-endian integer; the values.

The 8 says that values are unsigned bytes, the only type that the data sets of the catalogue have.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError

__all__ = ["read_idx"]

_UNSIGNED_BYTE = b"\x00\x00\x08"


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped idx file, uint8, with as many axes as the file says.

    Raises:
        DataError: it is not such a file, or has fewer or more values than its lengths say.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path.name}' is not a readable gzip file: remove it and get it again.") from error
    num_axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * num_axes
    if content[:3] != _UNSIGNED_BYTE or len(content) < start:
        raise DataError(f"'{path.name}' is not an idx file of unsigned bytes: remove it and get it again.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", num_axes, 4))
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != np.prod(shape, dtype=np.uint64):
        raise DataError(f"'{path.name}' has {len(values)} values and says {shape}: remove it and get it again.")
    return values.reshape(shape).copy()
