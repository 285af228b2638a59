"""Downloading a file by https within limits on its size, the total time and the redirects.

The bytes are those on the server: content encodings are neither requested nor decoded. The proxies and
certificates of the environment are those that `requests` reads from it.
"""

import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import requests
    import rich.progress

__all__ = ["TransferError", "check_address", "transfer"]

_CHUNK_BYTES = 2**16
_TIMEOUT_SECONDS = 30  # to connect, and for the next bytes
_MOST_REDIRECTS = 5
_LEAST_SECONDS = 300
_LEAST_BYTES_PER_SECOND = 50_000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class TransferError(Exception):
    """Why a download failed, in a few words that follow the name of the server."""


def check_address(url: str) -> None:
    """Refuse an address that is not https; http is allowed for this machine itself.

    Raises:
        TransferError: it is another.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise TransferError("is not an address") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise TransferError("is not an https address")


def transfer(url: str, stream: IO[bytes], num_bytes: int) -> None:
    """Write the contents of an address to a stream.

    Arguments:
        url: the address.
        stream: a file to write to.
        num_bytes: the most that is read.

    Raises:
        TransferError: the server refuses, breaks off, sends more bytes than it may or fewer than it said, or takes
            longer than five minutes and one second for every 50 kB.
    """
    import requests

    deadline = time.monotonic() + _LEAST_SECONDS + num_bytes / _LEAST_BYTES_PER_SECOND
    try:
        with requests.Session() as session, _progress() as progress:
            response = _open(session, url, deadline)
            with response:
                declared = _declared(response, num_bytes)
                task = progress.add_task(urlsplit(url).path.rpartition("/")[2], total=declared)
                for chunk in _chunks(response, num_bytes, declared, deadline):
                    stream.write(chunk)
                    progress.advance(task, len(chunk))
    except requests.RequestException as error:
        raise TransferError(f"broke off ({type(error).__name__})") from error


def _open(session: "requests.Session", url: str, deadline: float) -> "requests.Response":
    """The answer at the end of the redirects, each of them to an address that is allowed."""
    for _ in range(_MOST_REDIRECTS + 1):
        check_address(url)
        _check_time(deadline)
        response = session.get(
            url,
            stream=True,
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
            headers={"Accept-Encoding": "identity"},
        )
        if not response.is_redirect:
            if response.status_code != 200:
                response.close()
                raise TransferError(f"answered {response.status_code}")
            return response
        url = urljoin(url, response.headers["location"])
        response.close()
    raise TransferError(f"redirected more than {_MOST_REDIRECTS} times")


def _declared(response: "requests.Response", num_bytes: int) -> int | None:
    """The length that the server states, or None.

    Raises:
        TransferError: it is more than may be read.
    """
    text = response.headers.get("Content-Length", "")
    declared = int(text) if text.isascii() and text.isdigit() else None
    if declared is not None and declared > num_bytes:
        raise TransferError(f"has {declared:,} bytes where at most {num_bytes:,} are expected")
    return declared


def _chunks(response: "requests.Response", num_bytes: int, declared: int | None, deadline: float) -> Iterator[bytes]:
    """The received bytes, one read of the socket at a time, so that the time limit is checked between reads."""
    from urllib3.exceptions import HTTPError

    got = 0
    raw: Any = response.raw
    try:
        while chunk := raw.read1(_CHUNK_BYTES, decode_content=False):
            got += len(chunk)
            if got > num_bytes:
                raise TransferError(f"sent more than {num_bytes:,} bytes")
            _check_time(deadline)
            yield chunk
    except (HTTPError, OSError) as error:
        raise TransferError(f"broke off ({type(error).__name__})") from error
    if declared is not None and got != declared:
        raise TransferError(f"broke off after {got:,} of {declared:,} bytes")


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TransferError("took too long")


def _progress() -> "rich.progress.Progress":
    """A progress bar on stderr; silent unless that is a terminal."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
