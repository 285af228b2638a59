"""Files of coded rows, with loss or without: how they are asked for, written, read and refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lowerbound.coding import StackError
from lowerbound.data import DataError
from lowerbound.data.checks import check_path
from lowerbound.fitted import Fitted
from lowerbound.limits import MOST_CODED
from lowerbound.training.checkpoint import CheckpointError, write_atomically
from lowerbound.verbs.lossless_file import Content, unpack

__all__ = [
    "Progress",
    "content_of",
    "decoding",
    "read_coded",
    "require_codable",
    "require_new",
    "third",
    "weights_checksum",
    "write_coded",
]

Progress = Callable[[int, int], None]
"""Called with the rows that are done and their number."""


def third(progress: Progress | None, part: int) -> Progress | None:
    """That of coding (0), of decoding what was coded (1), or of comparing its size (2), each a third of the way."""
    return None if progress is None else lambda done, total: progress(-(-(done + part * total) // 3), total)


def require_new(path: Path, *, force: bool) -> None:
    """Refuse a place where something is already.

    Raises:
        DataError: naming it.
    """
    if os.path.lexists(path) and not force:
        raise _taken(path)


def _taken(path: Path) -> DataError:
    return DataError(f"{path} is there already; choose another place, or say force=True.")


def require_codable(num_rows: int, size: int, name: str) -> None:
    """Refuse no rows, and more numbers than a file takes.

    Raises:
        DataError: giving their number.
    """
    if num_rows == 0 or size > MOST_CODED:
        raise DataError(f"{name} holds {size:,} numbers; a file takes between 1 and {MOST_CODED:,}: split it.")


def write_coded(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all.

    Raises:
        DataError: no `force`, and a file is there.
        CheckpointError: the place cannot be written.
    """
    try:
        write_atomically(path, content, new=not force)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise CheckpointError(f"Could not write {path} ({error.strerror or error}); choose another place.") from error


def read_coded(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is none, or cannot be read.
    """
    check_path(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"could not read {path} ({error.strerror or error}).") from None


def content_of(data: bytes, name: str, fitted: Fitted) -> Content:
    """What a file holds, if it was written with the weights of this model.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        content = unpack(data)
    except ValueError as error:
        raise DataError(f"{name} {error}") from None
    if content.header.get("weights") != weights_checksum(fitted):
        raise DataError(
            f"{name} was written with other weights than those of {fitted.called_within}; name the run that wrote it."
        )
    return content


@contextmanager
def decoding(name: str, what: str) -> Iterator[None]:
    """Say in a sentence what is wrong with a file that is being decoded.

    Arguments:
        name: of the file.
        what: is decoded, "rows" or "codes".

    Raises:
        DataError: its bits are not those of this model, or its header is not readable.
    """
    try:
        yield
    except StackError:
        raise DataError(
            f"{name} does not decode to the {what} that were written, as nets give other numbers here; decode it on "
            "the machine and with the version of torch that wrote it."
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        raise DataError(f"{name} has a header that is not readable; it was altered.") from None


def weights_checksum(fitted: Fitted) -> str:
    """The sha256 of all that decides how rows are coded: weights, transform and schema."""
    digest = hashlib.sha256(json.dumps(fitted.schema.to_json(), sort_keys=True).encode())
    for part in (fitted.model, fitted.transform):
        for name, tensor in sorted(part.state_dict().items()):
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name}{values.dtype}{tuple(values.shape)}".encode())
            digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
