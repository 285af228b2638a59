"""Downloads from a server on this machine: only a whole, unaltered file is ever kept."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lowerbound.data import DataError
from lowerbound.data.download import find, obtain

GOOD = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(GOOD).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.split("/")[1]
        if kind == "missing":
            self.send_error(404)
            return
        body = {"good": GOOD, "altered": GOOD[:-1] + b"?", "short": GOOD[:1000]}.get(kind, GOOD)
        self.send_response(200)
        if kind != "short":  # without a length only the checksum can tell
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if kind in ("truncated", "dropped") else body)
        if kind == "dropped":
            self.wfile.flush()
            self.connection.close()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr("lowerbound.data.download.cache_folder", lambda: folder)
    monkeypatch.delenv("LOWERBOUND_DATA", raising=False)
    monkeypatch.delenv("LOWERBOUND_DATA_URL", raising=False)
    return folder


def _kept(cache):
    return [path.name for path in cache.iterdir()] if cache.exists() else []


def test_good_file_is_kept_and_not_fetched_again(server, cache, monkeypatch):
    assert find("f.npz") is None
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{server}/good/")
    path = obtain("f.npz", SHA256)
    assert path.read_bytes() == GOOD
    assert _kept(cache) == ["f.npz"]
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{server}/missing")
    assert obtain("f.npz", SHA256) == path
    monkeypatch.delenv("LOWERBOUND_DATA_URL")
    assert obtain("f.npz", SHA256, download=False) == path


@pytest.mark.parametrize(
    "kind, words",
    [
        ("altered", "does not have the expected sha256"),
        ("short", "does not have the expected sha256"),
        ("truncated", "broke off"),
        ("dropped", "broke off"),
        ("missing", "answered 404"),
    ],
)
def test_bad_download_is_refused_and_leaves_nothing(server, cache, monkeypatch, kind, words):
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{server}/{kind}")
    with pytest.raises(DataError) as caught:
        obtain("f.npz", SHA256)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _kept(cache) == []


def test_interrupt_leaves_nothing(server, cache, monkeypatch):
    def interrupted(self, chunk_size):
        yield GOOD[:1000]
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.Response.iter_content", interrupted)
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{server}/good")
    with pytest.raises(KeyboardInterrupt):
        obtain("f.npz", SHA256)
    assert _kept(cache) == []


def test_nobody_listening(cache, monkeypatch):
    monkeypatch.setenv("LOWERBOUND_DATA_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="broke off"):
        obtain("f.npz", SHA256)
    assert _kept(cache) == []


def test_url_of_another_kind(cache, monkeypatch):
    monkeypatch.setenv("LOWERBOUND_DATA_URL", "ftp://127.0.0.1")
    with pytest.raises(DataError, match="expected a URL starting with http"):
        obtain("f.npz", SHA256)


def test_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the cache should be")
    monkeypatch.setattr("lowerbound.data.download.cache_folder", lambda: tmp_path / "taken" / "c")
    monkeypatch.delenv("LOWERBOUND_DATA", raising=False)
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{server}/good")
    with pytest.raises(DataError, match="cannot be written"):
        obtain("f.npz", SHA256)


def test_the_folder_comes_before_the_cache(server, cache, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "f.npz").write_bytes(GOOD)
    cache.mkdir()
    (cache / "f.npz").write_bytes(b"old")
    monkeypatch.setenv("LOWERBOUND_DATA", str(folder))
    assert obtain("f.npz", SHA256) == folder / "f.npz"
    (folder / "f.npz").unlink()
    with pytest.raises(DataError, match="was altered or cut short"):
        obtain("f.npz", SHA256)


def test_no_url_and_no_download(cache, server, monkeypatch):
    with pytest.raises(DataError, match=r"set LOWERBOUND_DATA to a folder holding f\.npz"):
        obtain("f.npz", SHA256)
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{server}/good")
    with pytest.raises(DataError, match="is not on this machine"):
        obtain("f.npz", SHA256, download=False)
    assert _kept(cache) == []
