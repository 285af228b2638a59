"""Downloading a file by https within limits on its size, the total time and the redirects.

The bytes are those on the server: content encodings are neither requested nor decoded. Proxies are those of the
environment (https_proxy, no_proxy, …), and certificates those of the system or of ``$SSL_CERT_FILE``.
"""

import string
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import IO, TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

if TYPE_CHECKING:
    import rich.progress

__all__ = ["TransferError", "check_address", "transfer"]

_CHUNK_BYTES = 2**16
_TIMEOUT_SECONDS = 30  # to connect, and for the next bytes
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
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
        host, _ = parts.hostname, parts.port  # a port that is no number raises
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
    deadline = time.monotonic() + _LEAST_SECONDS + num_bytes / _LEAST_BYTES_PER_SECOND
    with _open(url, deadline) as response, _progress() as progress:
        declared = _declared(response, num_bytes)
        task = progress.add_task(urlsplit(url).path.rpartition("/")[2], total=declared)
        for chunk in _chunks(response, num_bytes, declared, deadline):
            stream.write(chunk)
            progress.advance(task, len(chunk))


class _NoRedirects(HTTPRedirectHandler):
    """Leaves redirects to `_open`, which looks at where they lead."""

    def redirect_request(self, *_: object) -> None:
        """None, so that the answer is raised as it is."""


def _open(url: str, deadline: float) -> HTTPResponse:
    """The answer at the end of the redirects, each of them to an address that is allowed."""
    opener = build_opener(_NoRedirects)
    for _ in range(_MOST_REDIRECTS + 1):
        check_address(url)
        _check_time(deadline)
        answer = _answer(opener, url)
        if isinstance(answer, HTTPResponse):
            return answer
        url = answer
    raise TransferError(f"redirected more than {_MOST_REDIRECTS} times")


def _answer(opener: OpenerDirector, url: str) -> HTTPResponse | str:
    """The open answer, or the address to which it redirects."""
    try:
        response = opener.open(Request(url, headers={"User-Agent": "lowerbound"}), timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        to = error.headers.get("Location")
        if error.code not in _REDIRECTS or to is None:
            raise TransferError(f"answered {error.code}") from None
        return urljoin(url, quote(to, safe=string.punctuation))
    except (OSError, HTTPException, ValueError) as error:
        raise _broken_off(error) from error
    if response.status != 200:
        response.close()
        raise TransferError(f"answered {response.status}")
    return response


def _broken_off(error: Exception) -> TransferError:
    reason = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    return TransferError(f"broke off ({type(reason).__name__})")


def _declared(response: HTTPResponse, num_bytes: int) -> int | None:
    """The length that the server states, or None.

    Raises:
        TransferError: it is more than may be read.
    """
    text = response.headers.get("Content-Length", "")
    declared = int(text) if text.isascii() and text.isdigit() else None
    if declared is not None and declared > num_bytes:
        raise TransferError(f"has {declared:,} bytes where at most {num_bytes:,} are expected")
    return declared


def _chunks(response: HTTPResponse, num_bytes: int, declared: int | None, deadline: float) -> Iterator[bytes]:
    """The received bytes, one read of the socket at a time, so that the time limit is checked between reads."""
    got = 0
    while chunk := _read(response):
        got += len(chunk)
        if got > num_bytes:
            raise TransferError(f"sent more than {num_bytes:,} bytes")
        _check_time(deadline)
        yield chunk
    if declared is not None and got != declared:
        raise TransferError(f"broke off after {got:,} of {declared:,} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise _broken_off(error) from error


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
