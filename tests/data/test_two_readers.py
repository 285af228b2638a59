"""Long files of molecules that two processes read: the rows of one, whatever becomes of the second."""

import os
import signal
import subprocess
import sys

import pytest
from some_molecules import SMILES

from lowerbound.data import smiles, two_readers
from lowerbound.data.remarks import DataWarning
from lowerbound.data.smiles import read_molecules

LINES = [*SMILES, "no", "CC(=O)O.Cl", "C/C=C/C"]
PARTS = [LINES[i : i + 3] for i in range(0, len(LINES), 3)]


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The empty cache of both processes, for parts of three lines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(smiles, "_PART", 3)
    monkeypatch.setattr(two_readers, "_cores", lambda: 2)
    smiles._read.cache_clear()
    yield tmp_path / "lowerbound" / "lines"
    smiles._read.cache_clear()


@pytest.fixture
def here(monkeypatch):
    """The lines that this process reads."""
    lines, one = [], smiles._one
    monkeypatch.setattr(smiles, "_one", lambda line: lines.append(line) or one(line))
    return lines


@pytest.fixture
def alone():
    return [smiles._one(line) for line in LINES]


def test_two_processes_read_what_one_reads(alone, kept, here):
    assert list(read_molecules(LINES)) == alone
    assert here == [line for part in PARTS[::2] for line in part]
    assert len(list(kept.iterdir())) == len(PARTS)


def test_what_was_interrupted_goes_on_where_it_stopped(alone, kept, here):
    for part in PARTS[:4]:
        smiles.read_part(tuple(part))
    here.clear()
    assert list(read_molecules(LINES)) == alone
    assert here == [line for part in PARTS[4::2] for line in part]


def test_few_parts_are_read_by_one_process(alone, kept, here, monkeypatch):
    monkeypatch.setattr(two_readers.subprocess, "Popen", None)
    for part in PARTS[3:]:
        smiles.read_part(tuple(part))
    assert list(read_molecules(LINES)) == alone


@pytest.mark.parametrize(
    "program, why",
    [
        (
            "import json, sys; json.load(sys.stdin); sys.exit('Nothing can be written to it.')",
            ": Nothing can be written to it",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ", by signal 9"),
        ("pass", ""),
    ],
)
def test_a_second_process_that_ends_early_is_said_and_its_parts_are_read(alone, kept, here, monkeypatch, program, why):
    popen = subprocess.Popen
    monkeypatch.setattr(
        two_readers.subprocess, "Popen", lambda command, **k: popen([sys.executable, "-c", program], **k)
    )
    with pytest.warns(
        DataWarning, match=rf"two processes that read molecules ended early{why}; this one reads the rest"
    ):
        assert list(read_molecules(LINES)) == alone
    assert here == LINES


def test_the_second_process_finds_what_this_one_finds_in_the_current_folder(kept, here, monkeypatch, tmp_path):
    folder = tmp_path / "current"
    folder.mkdir()
    (folder / "own_reader.py").write_text("from lowerbound.data.second_reader import main\n\nmain()\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", tmp_path, *sys.path])  # Python leaves out what is no text
    monkeypatch.setattr(two_readers, "_PROGRAM", "own_reader")
    read_molecules(LINES)
    assert here == [line for part in PARTS[::2] for line in part]


def test_an_interrupt_ends_both(kept, monkeypatch):
    started, popen = [], subprocess.Popen

    def start(*given, **named):
        started.append(popen(*given, **named))
        return started[0]

    def interrupted(line):
        raise KeyboardInterrupt

    monkeypatch.setattr(two_readers.subprocess, "Popen", start)
    monkeypatch.setattr(smiles, "_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_molecules(LINES)
    assert started[0].poll() == -signal.SIGKILL


def test_a_second_process_ends_when_its_parts_are_read_or_cannot_be_kept(tmp_path):
    """The program itself: what it leaves, and that it does not go on where nothing stays."""
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    for cache, status, said in ((tmp_path / "cache", 0, b""), (no_folder, 1, b"Nothing can be written to")):
        done = subprocess.run(
            [sys.executable, "-m", two_readers._PROGRAM],
            input=b'[["CCO", "CCN"], ["no"]]',
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            capture_output=True,
        )
        assert done.returncode == status
        assert said in done.stderr
        assert len(list(cache.glob("lowerbound/lines/*"))) == 2 * (status == 0)
