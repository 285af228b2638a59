"""Finding a data file, or downloading it: in either case its sha256 is checked before it is used.

A file is looked for in the folder ``$LOWERBOUND_DATA``, then in pooch's cache, and is else
downloaded from ``$LOWERBOUND_DATA_URL``/FILE into that cache. This project publishes no mirror (the
data sets' licences differ), so without either variable the refusal says which file to put where.

A download goes to a temporary name and takes its own only once its checksum agrees, so that one
which is interrupted, cut short or altered leaves nothing behind.
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lowerbound.data.errors import DataError

if TYPE_CHECKING:
    import rich.progress

__all__ = ["FOLDER_VARIABLE", "URL_VARIABLE", "fetch", "find", "obtain", "verify"]

FOLDER_VARIABLE = "LOWERBOUND_DATA"
URL_VARIABLE = "LOWERBOUND_DATA_URL"
_CHUNK_BYTES = 2**16
_TIMEOUT_SECONDS = 30


def cache_folder() -> Path:
    """Where downloads are kept."""
    import pooch

    return Path(pooch.os_cache("lowerbound"))


def find(file: str) -> Path | None:
    """The file in ``$LOWERBOUND_DATA`` or in the cache, or None; its contents are not looked at.

    Raises:
        DataError: if ``$LOWERBOUND_DATA`` is set to something that is not a folder.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and not Path(folder).is_dir():
        raise DataError(f"{FOLDER_VARIABLE} is '{folder}', which is not a folder: set it to one.")
    places = [Path(folder), cache_folder()] if folder else [cache_folder()]
    return next((place / file for place in places if (place / file).is_file()), None)


def verify(path: Path, sha256: str) -> None:
    """Refuse a file whose contents are not the ones expected.

    Raises:
        DataError: if the file cannot be read or its sha256 differs.
    """
    try:
        with path.open("rb") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"the file '{path}' cannot be read; check its permissions.") from error
    if got != sha256:
        raise DataError(
            f"'{path}' has sha256 {got[:12]}..., expected {sha256[:12]}...: it was altered or cut "
            "short; remove it and get it again."
        )


def obtain(file: str, sha256: str, *, download: bool = True) -> Path:
    """A file with the given checksum, from the folder, the cache or the network, in that order.

    Arguments:
        file: the file's name.
        sha256: its checksum, 64 hexadecimal digits.
        download: whether it may be downloaded where it is not found.

    Raises:
        DataError: if the file is altered, not found and not to be downloaded, or its download
            fails.
    """
    found = find(file)
    if found is not None:
        verify(found, sha256)
        return found
    base_url = os.environ.get(URL_VARIABLE)
    if not download or not base_url:
        raise DataError(
            f"{file} is not on this machine and no mirror is published: set {FOLDER_VARIABLE} to a "
            f"folder holding {file}, or {URL_VARIABLE} to a base URL serving it."
        )
    return fetch(file, sha256, base_url)


def fetch(file: str, sha256: str, base_url: str) -> Path:
    """Download ``base_url``/``file`` into the cache, verified before it takes its name.

    Raises:
        DataError: if the server cannot be reached or refuses, the connection breaks, the contents
            have another checksum, or the cache cannot be written.
    """
    import pooch
    import requests

    url = f"{base_url.rstrip('/')}/{file}"
    if not url.startswith(("http://", "https://")):
        raise DataError(f"{URL_VARIABLE} is '{base_url}'; expected a URL starting with http(s)://.")
    cache, downloader = cache_folder(), cast(Any, _download)
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", file, cache, downloader=downloader))
    except requests.HTTPError as error:
        response: Any = error.response
        raise DataError(f"{url} answered {response.status_code}; check {URL_VARIABLE}.") from error
    except requests.RequestException as error:
        reason = type(error).__name__
        raise DataError(
            f"the download of {url} broke off ({reason}) and nothing was kept; check the connection and try again."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{url} does not have the expected sha256 {sha256[:12]}...: it was altered or cut "
            f"short, and nothing was kept; check {URL_VARIABLE}."
        ) from error
    except OSError as error:
        raise DataError(f"{file} cannot be written to {cache}: {error.strerror}.") from error


def _download(url: str, output_file: Any, _: Any) -> None:
    """What `pooch` calls to write a URL's contents to a temporary file.

    Its own downloader leaves sockets open when a connection breaks, and needs tqdm for a bar.
    """
    import requests

    with (
        requests.Session() as session,
        session.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response,
        _progress() as progress,
        open(output_file, "wb") as stream,
    ):
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or None
        task = progress.add_task(url.rpartition("/")[2], total=total)
        for chunk in response.iter_content(_CHUNK_BYTES):
            stream.write(chunk)
            progress.advance(task, len(chunk))


def _progress() -> "rich.progress.Progress":
    """A progress bar on stderr; silent unless that is a terminal."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
