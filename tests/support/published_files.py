"""Files in the formats in which data sets were published, written from arrays."""

import gzip
import io
import struct
import tarfile

import numpy as np

__all__ = ["amat", "cifar", "idx"]


def idx(array: np.ndarray) -> bytes:
    """As in the description on MNIST's page, gzipped."""
    lengths = struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())


def amat(rows: np.ndarray) -> bytes:
    """Lines of numbers with a space between them."""
    text = io.StringIO()
    np.savetxt(text, rows, fmt="%d")
    return text.getvalue().encode()


def cifar(members: dict[str, bytes]) -> bytes:
    """A tar.gz archive of these members."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()
