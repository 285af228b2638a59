"""The binary version of CIFAR-10: a tar.gz archive of files of records, a label byte and 3 × 32 × 32 pixel bytes each.

Members are read by their names and nothing is extracted. The version for Python is a pickle, which is never loaded.
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.errors import DataError

__all__ = ["CLASSES", "TEST", "TRAIN", "read_cifar"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes of CIFAR-10 in the order of their numbers, as in its batches.meta.txt."""

TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
TEST = ("cifar-10-batches-bin/test_batch.bin",)

_IMAGE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_MOST_BYTES = 10_000 * _RECORD  # of one member


def read_cifar(path: Path, members: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,), uint8, of some members of the archive one after the other.

    Raises:
        DataError: a member is missing, or is not whole records.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            found = {member.name: archive.extractfile(member) for member in archive if member.name in members}
            content = {name: stream.read(_MOST_BYTES + 1) for name, stream in found.items() if stream is not None}
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"'{path.name}' is not a readable tar.gz file: remove it and get it again.") from error
    records = np.concatenate([_records(content.get(name, b""), name, path) for name in members])
    return records[:, 1:].reshape(-1, *_IMAGE).copy(), records[:, 0].copy()


def _records(content: bytes, name: str, path: Path) -> np.ndarray:
    if not content or len(content) % _RECORD or len(content) > _MOST_BYTES:
        raise DataError(
            f"{name} of '{path.name}' has {len(content)} bytes; expected 1 to 10,000 records of {_RECORD}: remove the "
            "archive and get it again."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
