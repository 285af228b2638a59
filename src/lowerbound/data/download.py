"""Finding a data file or downloading it; its checksum is verified before use.

A file is looked for in the folder ``$LOWERBOUND_DATA``, if that is set, then in the cache of this user, ``lowerbound``
in ``$XDG_CACHE_HOME`` or else in ``~/.cache``. A file that is not found is downloaded to
``$LOWERBOUND_DATA`` if that is set and writable, else to the cache. Published files of a data set are in a subfolder
with the name of the data set.

``$LOWERBOUND_DATA_URL`` is the address of a folder with the same layout, which is tried before the publishers.

A download goes to a temporary name of its own and takes the file's name only once its checksum agrees, so that a
download that is interrupted, cut short or altered leaves nothing behind.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from lowerbound.data.errors import DataError
from lowerbound.data.transfer import TransferError, transfer

__all__ = ["FOLDER_VARIABLE", "URL_VARIABLE", "Verify", "base_url", "fetch", "find", "has_checksum", "needed"]

FOLDER_VARIABLE = "LOWERBOUND_DATA"
URL_VARIABLE = "LOWERBOUND_DATA_URL"
_NO_OTHER_WRITES = 0o755

Verify: TypeAlias = Callable[[Path], bool]
"""Whether the file at a path has the contents that are expected."""


def cache_folder() -> Path:
    """The folder for downloads of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lowerbound")


def make_folder(path: Path) -> None:
    """Make a folder that may lie in the cache, which is made so that this user alone writes into it.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_relative_to(cache_folder()):
        cache_folder().mkdir(parents=True, exist_ok=True, mode=_NO_OTHER_WRITES)
    path.mkdir(parents=True, exist_ok=True)


def base_url() -> str | None:
    """The address of ``$LOWERBOUND_DATA_URL`` without a slash at the end, or None."""
    return (os.environ.get(URL_VARIABLE) or "").rstrip("/") or None


def find(file: str) -> Path | None:
    """The file in ``$LOWERBOUND_DATA`` or in the cache, or None; its contents are not looked at.

    Raises:
        DataError: if ``$LOWERBOUND_DATA`` is set to something that is not a folder.
    """
    return next((place / file for place in _places() if (place / file).is_file()), None)


def needed(file: str) -> Path:
    """The same, where nothing works without it.

    Raises:
        DataError: it is in neither; saying which folder was looked in.
    """
    found = find(file)
    if found is None:
        where = os.environ.get(FOLDER_VARIABLE) or f"that {FOLDER_VARIABLE} names, which is not set"
        raise DataError(f"there is no {file} in the folder {where}; put it there.")
    return found


def has_checksum(path: Path, algorithm: str, expected: str) -> bool:
    """Whether a file has this checksum.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, algorithm).hexdigest() == expected
    except OSError as error:
        raise DataError(f"the file '{path}' cannot be read; check its permissions.") from error


def fetch(file: str, urls: Sequence[str], num_bytes: int, verify: Verify) -> Path:
    """Download a file from the first address that serves it whole and unaltered.

    Arguments:
        file: its path in the folder of the downloads.
        urls: its addresses, tried in this order.
        num_bytes: its size, or the most that it may have.
        verify: the check that it must pass before it takes its name.

    Raises:
        DataError: no address serves it (the message says why, for each); or the folder cannot be written.
    """
    target = _download_folder() / file
    failures = []
    try:
        make_folder(target.parent)
        for url in urls:
            try:
                _fetch_from(url, target, num_bytes, verify)
                return target
            except TransferError as failure:
                failures.append(f"{_server(url)} {failure}")
    except OSError as error:
        raise DataError(f"{file} cannot be written to {target.parent}: {error.strerror}.") from error
    raise DataError(
        f"{file} could not be downloaded ({'; '.join(failures)}) and nothing was kept: check the connection, or put "
        f"the file into the folder {FOLDER_VARIABLE}."
    )


def _fetch_from(url: str, target: Path, num_bytes: int, verify: Verify) -> None:
    with _temporary_beside(target) as (path, stream):
        transfer(url, stream, num_bytes)
        stream.close()
        if not verify(path):
            raise TransferError("has another checksum than expected")
        os.replace(path, target)


@contextlib.contextmanager
def _temporary_beside(target: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new temporary file with an unpredictable name, removed at the end unless it was renamed."""
    path = target.parent / f".{secrets.token_hex(16)}.partial"
    stream = path.open("xb")
    try:
        yield path, stream
    finally:
        stream.close()
        path.unlink(missing_ok=True)


def _server(url: str) -> str:
    try:
        return urlsplit(url).hostname or f"'{url}'"
    except ValueError:
        return f"'{url}'"


def _places() -> list[Path]:
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise DataError(f"{FOLDER_VARIABLE} is '{folder}', which is not a folder: set it to one.")
    return [Path(folder), cache_folder()] if folder else [cache_folder()]


def _download_folder() -> Path:
    first = _places()[0]
    return first if os.access(first, os.W_OK) else cache_folder()
