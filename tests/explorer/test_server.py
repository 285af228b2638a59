"""The server answers its own page and nobody else."""

import contextlib
import http.client
import json
import re
import socket
import threading
import time

import pytest

from lowerbound.explorer.server import MOST_BYTES, MOST_CONNECTIONS


def ask(server, method, path, body=None, **headers):
    """Status, headers and body of an answer; headers that are named (_ for -) replace the usual ones, None removes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    sent = {"Host": f"127.0.0.1:{server.port}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    data = body.encode() if isinstance(body, str) else body
    if data is not None and "Content-Length" not in sent and "Transfer-Encoding" not in sent:
        sent["Content-Length"] = str(len(data))
    for name, value in sent.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def path_of(server, name=""):
    return f"/{server.token}/{name}"


def test_the_page_its_content_and_questions_are_answered(server, explorer):
    status, headers, page = ask(server, "GET", path_of(server))
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<canvas" in page
    assert headers["Cache-Control"] == "no-store"
    assert "script-src 'sha256-" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert json.loads(ask(server, "GET", path_of(server, "content"))[2])["count"] == len(explorer.mean)
    z = [[0.0, 1.0, 2.0]]
    status, _, body = ask(server, "POST", path_of(server, "decode"), json.dumps({"latents": z}))
    assert (status, json.loads(body)) == (200, explorer.decode(z))
    assert server.address == f"http://127.0.0.1:{server.port}/{server.token}/"
    assert re.fullmatch(r"[\w-]{32}", server.token)


def test_localhost_is_a_name_of_the_server(server):
    assert ask(server, "GET", path_of(server), Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", "", None])
def test_other_hosts_are_refused(server, host):
    assert ask(server, "GET", path_of(server), Host=host)[0] in (400, 403)
    assert ask(server, "POST", path_of(server, "row"), '{"row": 0}', Host=host)[0] in (400, 403)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_other_sites_are_refused(server, origin):
    assert ask(server, "POST", path_of(server, "row"), '{"row": 0}', Origin=origin)[0] == 403


def test_without_the_token_there_is_nothing(server):
    other = server.token[:-1] + ("A" if server.token[-1] != "A" else "B")
    for path in ("/", "", f"/{other}/", f"/{server.token}", "/content", "/favicon.ico", "/é/"):
        try:
            status = ask(server, "GET", path)[0]
        except (UnicodeEncodeError, http.client.InvalidURL):
            continue
        assert status in (400, 404), path
    assert ask(server, "POST", f"/{other}/row", '{"row": 0}')[0] == 404


@pytest.mark.parametrize(
    "name", ["../content", "content/", "content?x=1", "static/page.js", "%2e%2e/", "__init__", "page"]
)
def test_other_paths_are_not_there(server, name):
    assert ask(server, "GET", path_of(server, name))[0] == 404
    assert ask(server, "POST", path_of(server, name), "{}")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "NONSENSE"])
def test_other_methods_are_refused(server, method):
    status, headers, body = ask(server, method, path_of(server, "row"))
    assert status == 501
    assert method == "HEAD" or b"error" in body
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "body, headers, status",
    [
        ("{}", {}, 400),
        ('{"row": 99}', {}, 400),
        ('{"row": NaN}', {}, 400),
        ('{"row": 1e400}', {}, 400),
        ("[" * 1000, {}, 400),
        ("[]", {}, 400),
        ("", {}, 400),
        (b"\xff", {}, 400),
        ('{"row": 0}', {"Content_Type": "text/plain"}, 415),
        ('{"row": 0}', {"Content_Type": None}, 415),
        ('{"row": 0}', {"Transfer_Encoding": "chunked"}, 415),
        ('{"row": 0}', {"Content_Length": None}, 411),
        ('{"row": 0}', {"Content_Length": "-1"}, 411),
        ('{"row": 0}', {"Content_Length": "٣"}, 411),
        ('{"row": 0}', {"Content_Length": "9" * 30}, 411),
        ("", {"Content_Length": str(MOST_BYTES + 1)}, 413),
    ],
)
def test_bad_questions_get_a_sentence_and_no_more(server, body, headers, status):
    headers = {k: v.encode() if isinstance(v, str) else v for k, v in headers.items()}
    found, _, answer = ask(server, "POST", path_of(server, "row"), body, **headers)
    assert found == status
    assert json.loads(answer)["error"].endswith(".")
    assert ask(server, "POST", path_of(server, "row"), '{"row": 0}')[0] == 200  # and it still answers


def test_a_defect_is_said_and_keeps_its_traceback(server, explorer, monkeypatch, capfd):
    def broken(*_, **__):
        raise RuntimeError("of the decoder")

    monkeypatch.setattr(explorer, "decode", broken)
    status, _, body = ask(server, "POST", path_of(server, "decode"), '{"latents": [[0, 0, 0]]}')
    assert (status, "of the decoder" in body.decode()) == (500, False)
    said, end = "", time.monotonic() + 10
    while "RuntimeError: of the decoder" not in said and time.monotonic() < end:  # in a thread of its own
        said += capfd.readouterr().err
        time.sleep(0.01)
    assert "RuntimeError: of the decoder" in said


def test_someone_who_hangs_up_is_no_defect(server, capfd):
    with socket.create_connection(("127.0.0.1", server.port)) as plug:
        plug.sendall(f"POST {path_of(server, 'row')} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode())
        plug.sendall(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    assert ask(server, "POST", path_of(server, "row"), '{"row": 0}')[0] == 200
    assert capfd.readouterr().err == ""


def test_connections_that_send_nothing_keep_nobody_out(server):
    """Those that wait longest are closed; a browser's, which named the token since, is not among them."""
    browser = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    first = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    browser.request("GET", path_of(server))
    browser.getresponse().read()
    others = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(MOST_CONNECTIONS - 1)]
    for one in others:
        one.sendall(b"GET /")
    assert first.recv(1) == b""
    assert ask(server, "GET", path_of(server))[0] == 200  # in the place of the browser's, and then of nobody
    more = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(MOST_CONNECTIONS)]
    assert [one.recv(1) for one in others] == [b""] * len(others)
    assert ask(server, "GET", path_of(server))[0] == 200
    assert threading.active_count() < 2 * MOST_CONNECTIONS
    browser.close()
    for one in (first, *others, *more):
        one.close()


def wait_until_taken(server, connection):
    """Connections are taken in turn, so that all before this one were taken too."""

    def peer(one):
        with contextlib.suppress(OSError):  # it is closed
            return one.getpeername()

    until = time.monotonic() + 10
    while connection.getsockname() not in map(peer, list(server._http._open)):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_connection_that_names_the_token_outlives_those_that_do_not(server):
    browser = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    crowd = []
    for _ in range(4):
        browser.request("GET", path_of(server))
        assert browser.getresponse().read()
        opened = browser.sock
        crowd += [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(MOST_CONNECTIONS - 2)]
        wait_until_taken(server, crowd[-1])
        browser.request("GET", path_of(server))
        assert browser.getresponse().read()
        assert browser.sock is opened
    browser.close()
    for one in crowd:
        one.close()


def test_questions_at_once_get_the_answers_of_one_after_another(server, explorer):
    rows, found = list(range(len(explorer.mean))) * 4, {}
    expected = {
        row: json.loads(ask(server, "POST", path_of(server, "row"), json.dumps({"row": row}))[2]) for row in rows
    }

    def one(i):
        found[i] = json.loads(ask(server, "POST", path_of(server, "row"), json.dumps({"row": rows[i]}))[2])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(rows))] == [expected[row] for row in rows]


def test_a_port_that_is_taken_is_refused_and_one_that_is_stopped_is_free(explorer):
    with explorer.serve() as one:
        with pytest.raises(ValueError, match=f"Port {one.port} cannot be used"):
            explorer.serve(one.port)
        with pytest.raises(ValueError, match="Port 99999 cannot be used"):
            explorer.serve(99999)
    one.wait()
    with pytest.raises(ConnectionRefusedError):
        ask(one, "GET", path_of(one))
