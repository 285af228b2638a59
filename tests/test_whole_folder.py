"""Files of a folder are written together or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lowerbound import whole_folder
from lowerbound.training.checkpoint import write_atomically
from lowerbound.whole_folder import write_folder


@pytest.fixture
def full(monkeypatch):
    """A disk that is full after the first file."""

    def write(path: Path, content: bytes) -> None:
        if path.name == "b":
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr(whole_folder, "write_atomically", write)


def test_a_new_or_empty_folder_is_there_whole(tmp_path):
    (tmp_path / "source").write_bytes(b"2")
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "none/below"):
        write_folder(tmp_path / name, {"a": b"1", "b": tmp_path / "source"}, force=False)
        assert {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} == {"a": b"1", "b": b"2"}
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "empty").stat().st_mode == tmp_path.stat().st_mode | 0o40055
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_nothing_new_and_all_that_was_there(tmp_path, full):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_bytes(b"old")
    for name in ("new", "there"):
        with pytest.raises(OSError, match="No space"):
            write_folder(tmp_path / name, {"a": b"1", "b": b"2"}, force=True)
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["there", "there/a"]
    assert (tmp_path / "there" / "a").read_bytes() == b"old"


def test_of_two_writers_the_second_is_refused(tmp_path):
    write_folder(tmp_path / "new", {"a": b"1"}, force=False)
    with pytest.raises(FileExistsError, match="a is there already"):
        write_folder(tmp_path / "new", {"a": b"2", "b": b"2"}, force=False)
    assert {p.name: p.read_bytes() for p in (tmp_path / "new").iterdir()} == {"a": b"1"}


def test_links_are_replaced_and_not_followed(tmp_path):
    (tmp_path / "other").write_bytes(b"old")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").symlink_to(tmp_path / "other")
    (tmp_path / "there" / "kept").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_folder(tmp_path / "link", {"a": b"1"}, force=True)
    assert (tmp_path / "other").read_bytes() == b"old"
    assert {p.name: p.read_bytes() for p in (tmp_path / "there").iterdir()} == {"a": b"1", "kept": b"kept"}
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(NotADirectoryError):
        write_folder(tmp_path / "loop", {"a": b"1"}, force=True)


@pytest.mark.slow  # a process of its own
def test_a_kill_leaves_no_folder_of_that_name(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from lowerbound import whole_folder as w\n"
        "write = w.write_atomically\n"
        "w.write_atomically = lambda p, c: os.kill(os.getpid(), signal.SIGKILL) if p.name == 'b' else write(p, c)\n"
        f"w.write_folder(Path({str(tmp_path / 'new')!r}), {{'a': b'1', 'b': b'2'}}, force=False)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
