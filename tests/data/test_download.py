"""Downloads from a server on this machine: only a whole, unaltered file is ever kept, within limits."""

import functools
import hashlib
import os

import pytest

from lowerbound.data import DataError
from lowerbound.data.download import cache_folder, fetch, find, has_checksum
from lowerbound.data.transfer import TransferError, check_address

GOOD = bytes(range(256)) * 2000
_is_good = functools.partial(has_checksum, algorithm="sha256", expected=hashlib.sha256(GOOD).hexdigest())


def _answer(body, *, declared, encoding=None):
    def answer(handler):
        handler.send_response(200)
        if declared is not None:
            handler.send_header("Content-Length", str(declared))
        if encoding is not None:
            handler.send_header("Content-Encoding", encoding)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def _redirect(to):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


@pytest.fixture
def base(serve):
    return serve(
        {
            "/good": GOOD,
            "/altered": GOOD[:-1] + b"?",
            "/short": _answer(GOOD[:1000], declared=None),
            "/truncated": _answer(GOOD[:1000], declared=len(GOOD)),
            "/long": GOOD + b"?",
            "/longer": _answer(GOOD + b"?", declared=None),
            "/encoded": _answer(GOOD, declared=len(GOOD), encoding="gzip"),
            "/elsewhere": _redirect("/good"),
            "/loop": _redirect("/loop"),
            "/to-http": _redirect("http://example.invalid/good"),
            "/to-nowhere": _redirect("http://["),
            "/ends": lambda handler: handler.connection.close(),
            "/to-file": _redirect("file:///etc/hostname"),
        }
    )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr("lowerbound.data.download.cache_folder", lambda: folder)
    monkeypatch.delenv("LOWERBOUND_DATA", raising=False)
    return folder


def _get(*urls):
    return fetch("set/f", urls, len(GOOD), _is_good)


def _kept(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", ["good", "elsewhere", "encoded"])
def test_good_file_is_kept_as_the_server_has_it(base, cache, path):
    assert find("set/f") is None
    got = _get(f"{base}/{path}")
    assert got == find("set/f") == cache / "set" / "f"
    assert got.read_bytes() == GOOD
    assert _kept(cache) == [got]
    assert got.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    "path, words",
    [
        ("altered", "has another checksum"),
        ("short", "has another checksum"),
        ("truncated", "broke off"),
        ("absent", "answered 404"),
        ("ends", "broke off"),
        ("to-nowhere", "broke off"),
        ("long", "has 512,001 bytes where at most 512,000"),
        ("longer", "sent more than 512,000 bytes"),
        ("loop", "redirected more than 5 times"),
        ("to-http", "is not an https address"),
        ("to-file", "is not an https address"),
    ],
)
def test_bad_download_is_refused_and_leaves_nothing(base, cache, path, words):
    with pytest.raises(DataError, match=words) as caught:
        _get(f"{base}/{path}")
    assert "\n" not in str(caught.value)
    assert _kept(cache) == []


def test_second_address_is_tried_and_both_failures_are_named(base, cache):
    assert _get(f"{base}/altered", f"{base}/good").read_bytes() == GOOD
    (cache / "set" / "f").unlink()
    with pytest.raises(DataError, match=r"answered 404; 127\.0\.0\.1 broke off") as caught:
        _get(f"{base}/absent", "http://127.0.0.1:9/f")
    assert "put the file into the folder LOWERBOUND_DATA" in str(caught.value)
    assert len(str(caught.value)) < 300
    assert _kept(cache) == []


def test_time_is_limited(base, cache, monkeypatch):
    """A server that sends a little now and then is given up, though no single wait is long."""
    clock = iter(range(0, 10**9, 100))
    monkeypatch.setattr("lowerbound.data.transfer.time.monotonic", lambda: next(clock))
    with pytest.raises(DataError, match="took too long"):
        _get(f"{base}/good")
    assert _kept(cache) == []


def test_interrupt_leaves_nothing(base, cache, monkeypatch):
    def interrupted(url, stream, num_bytes):
        stream.write(GOOD[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr("lowerbound.data.download.transfer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _get(f"{base}/good")
    assert _kept(cache) == []


def test_temporary_names_cannot_be_guessed(base, cache, monkeypatch):
    seen = []

    def look(url, stream, num_bytes):
        seen.append(os.path.basename(stream.name))
        raise TransferError("refused")

    monkeypatch.setattr("lowerbound.data.download.transfer", look)
    with pytest.raises(DataError):
        _get("a", "b")
    assert len(set(seen)) == 2
    monkeypatch.setattr("lowerbound.data.download.secrets.token_hex", lambda n: "known")
    (cache / "set" / ".known.partial").symlink_to(cache / "other")
    with pytest.raises(DataError, match="cannot be written"):  # what is there already is never followed
        _get("a")
    assert not (cache / "other").exists()


@pytest.mark.parametrize(
    "url", ["ftp://example.invalid/f", "http://example.invalid/f", "https://", "/f", "http://[::1", "https://a:b/f"]
)
def test_address_of_another_kind(url):
    with pytest.raises(TransferError, match="is not an"):
        check_address(url)


def test_proxy_of_the_environment_is_used(serve, monkeypatch):
    proxy = serve({"http://127.0.0.1:9/behind": GOOD})  # what a proxy is asked for is the whole address
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    assert _get("http://127.0.0.1:9/behind").read_bytes() == GOOD


def test_cache_is_that_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lowerbound"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "lowerbound"


def test_cache_that_cannot_be_written(base, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the cache should be")
    monkeypatch.setattr("lowerbound.data.download.cache_folder", lambda: tmp_path / "taken" / "c")
    with pytest.raises(DataError, match="cannot be written"):
        _get(f"{base}/good")


def test_the_folder_comes_before_the_cache_and_takes_downloads(base, cache, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "f").write_bytes(b"old")
    monkeypatch.setenv("LOWERBOUND_DATA", str(folder))
    assert find("set/f") == cache / "set" / "f"
    assert _get(f"{base}/good") == folder / "set" / "f" == find("set/f")
    monkeypatch.setattr("lowerbound.data.download.os.access", lambda *_: False)  # a folder that is only read
    assert _get(f"{base}/good") == cache / "set" / "f"
