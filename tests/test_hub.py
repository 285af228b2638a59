"""Runs are shared as folders, and as repositories of a hub that is a small server here."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.run_json import RunError
from lowerbound.verbs.hub import HubError, pull, push

SHARED = ["README.md", "evaluation.json", "metrics.jsonl", "model.safetensors", "run.json"]
COMMIT = "0" * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table in a file, with made-up scores."""
    folder = tmp_path_factory.mktemp("secret")
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt(folder / "t.csv", rows, delimiter=",", header="a,b|c,d", comments="")
    words = ["--recipe", "vae", "--steps", "4", "--hidden", "4", "--latent-dim", "2", "--no-evaluate", "--no-compile"]
    assert main(["fit", str(folder / "t.csv"), "--out", str(folder / "run"), *words]) == 0
    scores = {
        "log_evidence": -4.25,
        "log_evidence_standard_error": 0.5,
        "elbo": -4.5,
        "num_samples": 10,
        "num_data": 12,
    }
    baselines = {"gaussian": {"log_likelihood": -4.0, "standard_error": 0.25}}
    (folder / "run" / "evaluation.json").write_text(json.dumps({**scores, "baselines": baselines}))
    return folder / "run"


def test_a_folder_holds_the_run_and_its_card_and_nothing_of_this_machine(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    assert push(run, str(place)) == str(place)
    assert sorted(file.name for file in place.iterdir()) == SHARED
    assert not [file for file in place.iterdir() if b"secret" in file.read_bytes()]
    again = pull(str(place), tmp_path / "again")
    assert np.array_equal(lb.Fitted.open(again).sample(3, seed=1), lb.Fitted.open(run).sample(3, seed=1))


def test_the_card_says_what_there_is_to_know(run: Path, tmp_path: Path) -> None:
    push(run, str(tmp_path / "shared"))
    card = (tmp_path / "shared" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: lowerbound\n")
    for words in (
        "# vae of t.csv",
        "Columns: a, b\\|c, d.",
        "| log p(x), at least (L\\_S) | -4.25 ± 0.5 |".replace("\\_", "_"),
        "| baseline gaussian | -4 ± 0.25 |",
        "On test rows it is below a simpler model: gaussian.",
        "log p(x) is known by a lower bound.",
        "lowerbound pull",
        "@inproceedings{kingma2014auto,",
        "It was trained with",
    ):
        assert words in card, words


def test_what_is_there_is_kept_unless_forced(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    push(run, str(place))
    with pytest.raises(HubError, match=r"holds .* already; choose another folder, or replace it with --force"):
        push(run, str(place))
    push(run, str(place), force=True)
    with pytest.raises(HubError, match="is there already"):
        pull(str(place), run)


def _weights_of_another(place: Path) -> None:
    (place / "model.safetensors").write_bytes(b"\x80\x04pickle")


def _link(place: Path) -> None:
    (place / "metrics.jsonl").unlink()
    (place / "metrics.jsonl").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (_weights_of_another, "is damaged"),
        (_link, "is a link; a shared run has regular files"),
        (lambda place: (place / "run.json").unlink(), "holds no shared run: it has no run.json"),
        (lambda place: (place / "run.json").write_text("{}"), "format"),
    ],
)
def test_what_is_no_run_gets_no_place(spoil: Callable[[Path], object], words: str, run: Path, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    push(run, str(place))
    spoil(place)
    with pytest.raises((HubError, RunError), match=words):
        pull(str(place), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_are_not_taken(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    push(run, str(place))
    (place / "setup.py").write_text("raise SystemExit")
    assert not (pull(str(place), tmp_path / "out") / "setup.py").exists()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("push", "RUN", "one"), "'one' is neither ORG/NAME of a hub nor a folder such as ./shared/digits."),
        (("push", "RUN", "a/b/c"), "is neither ORG/NAME"),
        (("push", "./nothing", "./x"), "is not a run folder"),
        (("pull", "./nothing", "--out", "x"), "holds no shared run"),
    ],
)
def test_the_commands_refuse_in_a_sentence(
    words: tuple[str, ...], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([str(run) if word == "RUN" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_a_hub_without_its_package_says_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HubError, match="needs the package huggingface_hub; install it: pip install"):
        push(run, "org/digits")


class Hub(BaseHTTPRequestHandler):
    """The few addresses of a hub that are needed: repositories in memory, every file a regular one."""

    repositories: dict[str, dict[str, bytes]]
    tokens: list[str | None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).tokens.append(self.headers.get("Authorization"))
        if self.path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}"
            code = 409 if name in self.repositories else 200
            self.repositories.setdefault(name, {})
            return self._answer({"url": f"http://{self.headers['Host']}/{name}"}, code)
        if self.path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\nlibrary_name: lowerbound")
            return self._answer({"errors": [], "warnings": []})
        name = "/".join(self.path.split("/")[3:5])
        if self.path.endswith("/preupload/main"):
            files = [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self._answer({"files": files})
        assert self.path.endswith("/commit/main"), self.path
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self._answer({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            name = "/".join(self.path.split("?")[0].split("/")[3:5])
            if name not in self.repositories:
                return self._answer({"error": "no"}, 404, {"X-Error-Code": "RepoNotFound"})
            if "/tree/" in self.path:
                files = self.repositories[name].items()
                return self._answer([{"type": "file", "path": k, "size": len(v), "oid": COMMIT} for k, v in files])
            siblings = [{"rfilename": file} for file in self.repositories[name]]
            return self._answer({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        return self._file(send=True)

    def do_HEAD(self) -> None:
        self._file(send=False)

    def _file(self, *, send: bool) -> None:
        org, name, _, _, file = self.path.split("?")[0].strip("/").split("/", 4)
        content = self.repositories[f"{org}/{name}"][file]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if send:
            self.wfile.write(content)

    def _answer(self, content: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    handler = type("Handler", (Hub,), {"repositories": {}, "tokens": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_holds_the_run(
    run: Path, tmp_path: Path, hub: tuple[str, type[Hub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, handler = hub
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    assert push(run, "org/digits", endpoint=endpoint) == f"{endpoint}/org/digits"
    assert set(SHARED) <= set(handler.repositories["org/digits"])
    assert set(handler.tokens) == {"Bearer hf_of_a_test"}
    again = pull("org/digits", tmp_path / "again", endpoint=endpoint)
    assert np.array_equal(lb.Fitted.open(again).sample(3, seed=1), lb.Fitted.open(run).sample(3, seed=1))
    with pytest.raises(HubError, match="already; choose another name, or replace it with --force"):
        push(run, "org/digits", endpoint=endpoint)
    push(run, "org/digits", endpoint=endpoint, force=True)


def test_a_hub_that_does_not_know_the_name_says_so(tmp_path: Path, hub: tuple[str, type[Hub]]) -> None:
    with pytest.raises(HubError, match=r"The hub refused org/none \(.*\); see that you are logged in"):
        pull("org/none", tmp_path / "out", endpoint=hub[0])


def test_a_hub_that_does_not_answer_says_so(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In one sentence, whatever the package says of its attempts."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    monkeypatch.setattr("time.sleep", lambda _: None)
    logger = logging.getLogger("huggingface_hub")
    logger.addHandler(caplog.handler)
    with pytest.raises(HubError, match=r"The hub cannot be reached for org/digits \(.*\); check the connection\."):
        push(run, "org/digits", endpoint="http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"The hub cannot be reached for org/digits \(.*\); check the connection\."):
        pull("org/digits", tmp_path / "out", endpoint="http://127.0.0.1:9")
    logger.removeHandler(caplog.handler)
    assert not caplog.records
