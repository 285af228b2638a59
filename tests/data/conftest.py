"""A server on this machine."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest

Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self):
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        elif callable(answer):
            answer(self)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[[dict[str, bytes | Answer]], str]]:
    """From paths to contents, or to functions that answer, to the address of the server; each call adds to them."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        answers: dict[str, bytes | Answer] = {}
        server.answers = answers  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def add(more: dict[str, bytes | Answer]) -> str:
            answers.update(more)
            return f"http://127.0.0.1:{server.server_port}"

        yield add
        server.shutdown()
        thread.join()
