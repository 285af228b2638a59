"""The page on this machine: a server of the standard library that nobody else can reach.

It listens on the loopback address, and answers at paths that begin with a random token, which only the printed address
holds. A request must name this server as its host (a site that lets its own name point here does not: DNS rebinding),
must not come from another site, and a question must be JSON of bounded size. There are no other paths, no CORS, and no
file is read. One question is put to the model at a time. Of more connections than `MOST_CONNECTIONS` the one that has
waited longest since it last named the token is closed, so that connections that send nothing keep nobody out.

====================  ======================================================
request               answer
====================  ======================================================
GET /TOKEN/           the page
GET /TOKEN/content    what it needs first (`answers.content_answer`)
POST /TOKEN/NAME      the answer to a question of `asked.QUESTIONS`
====================  ======================================================
"""

from __future__ import annotations

import secrets
import socket
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from lowerbound.explorer.answers import content_answer
from lowerbound.explorer.asked import QUESTIONS, answer, read_question
from lowerbound.explorer.explorer import Explorer
from lowerbound.explorer.page import page, policy, to_json

__all__ = ["ExplorerServer"]

MOST_BYTES = 2**20
"""Of a question."""

MOST_CONNECTIONS = 32
"""At once; a browser keeps six."""

_LOOPBACK, _SECONDS = "127.0.0.1", 20
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ExplorerServer:
    """A server of one page, in a thread of its own.

    Arguments:
        explorer: what it answers from.
        port: 0 takes a free one.

    Attributes:
        address: of the page, with the token.

    Raises:
        ValueError: a port that is taken or is none.
    """

    def __init__(self, explorer: Explorer, port: int = 0):
        self.explorer, self.token, self._lock = explorer, secrets.token_urlsafe(24), threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        try:
            self._http = _Server((_LOOPBACK, port), handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ValueError(f"Port {port} cannot be used ({why}); name another, or none for a free one.") from None
        self.port = int(self._http.server_address[1])
        self.address = f"http://{_LOOPBACK}:{self.port}/{self.token}/"
        self._content: bytes | None = None
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="explorer", daemon=True)
        self._thread.start()

    def __enter__(self) -> ExplorerServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Come back when the server is stopped; Ctrl-C interrupts."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def stop(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def keep(self, connection: socket.socket) -> None:
        """Close this connection after all that are open now; it has named the token."""
        self._http.keep(connection)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which a request may call this server."""
        return f"{_LOOPBACK}:{self.port}", f"localhost:{self.port}"

    def content(self) -> bytes:
        """What the page needs first, made once."""
        with self._lock:
            if self._content is None:
                self._content = to_json(content_answer(self.explorer)).encode()
            return self._content

    def answer(self, name: str, body: bytes) -> bytes:
        """The answer to a question, as JSON.

        Raises:
            ValueError: a question that is refused, in one sentence.
        """
        question = read_question(body)
        with self._lock:
            return to_json(answer(self.explorer, name, question)).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]):
        self._guard: threading.Lock = threading.Lock()
        self._open: dict[Any, None] = {}  # sockets, that which has waited longest first
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, and close the one that has waited longest if there are too many."""
        self.keep(request)
        with self._guard:
            crowded = list(self._open)[:-MOST_CONNECTIONS]
        for oldest in crowded:
            with suppress(OSError):  # it has gone by itself
                oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and closes it
        super().process_request(request, client_address)

    def keep(self, request: Any) -> None:
        """Count a connection as the newest."""
        with self._guard:
            self._open.pop(request, None)
            self._open[request] = None

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of a defect, and nothing of a page that is closed while it waits."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    owner: ExplorerServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lowerbound", ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        name = self._name()
        if name == "":
            text = page("Latent space", None).encode()
            self._send(HTTPStatus.OK, text, "text/html; charset=utf-8")
        elif name == "content":
            self._send(HTTPStatus.OK, self.owner.content())
        elif name is not None:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing at this path.")

    def do_POST(self) -> None:
        name = self._name()
        if name is None:
            return
        if name not in QUESTIONS:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing at this path.")
            return
        body = self._body()
        if body is None:
            return
        try:
            found = self.owner.answer(name, body)
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "This is a defect of lowerbound; the terminal shows more.")
            raise
        else:
            self._send(HTTPStatus.OK, found)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses: other methods, and what is no HTTP."""
        self._refuse(HTTPStatus(code), "This is no request that the page makes.")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for each request."""

    def _name(self) -> str | None:
        """The path after the token; None if the request was refused."""
        token, slash, name = self.path.removeprefix("/").partition("/")
        if self.headers.get_all("Host", []) not in [[host] for host in self.owner.hosts]:
            self._refuse(HTTPStatus.FORBIDDEN, "This server has another name.")
        elif self.headers.get("Origin") not in (None, *(f"http://{host}" for host in self.owner.hosts)):
            self._refuse(HTTPStatus.FORBIDDEN, "Other sites may ask nothing.")
        elif not secrets.compare_digest(token.encode(), self.owner.token.encode()) or not slash:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing at this path.")
        else:
            self.owner.keep(self.connection)
            return name
        return None

    def _body(self) -> bytes | None:
        """The JSON of a question; None if the request was refused."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json" or self.headers.get("Transfer-Encoding"):
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A question is JSON of a stated length.")
        elif not (length.isascii() and length.isdigit() and len(length) < 10):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "A question is JSON of a stated length.")
        elif int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A question has at most {MOST_BYTES:,} bytes.")
        else:
            return self.rfile.read(int(length))
        return None

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # what else was sent is not read
        self._send(status, to_json({"error": sentence}).encode())

    def _send(self, status: HTTPStatus, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", f"{policy(is_served=True)}; frame-ancestors 'none'")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
