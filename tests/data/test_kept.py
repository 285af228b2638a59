"""What the cache holds is taken as it was put there, or made again."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lowerbound.data.kept import kept, put, taken
from lowerbound.data.remembered import remembered


@dataclass(frozen=True)
class Length:
    """Of a line."""

    count: int


class Files:
    """Rows of files."""

    identity = ("file", 3, 5)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lowerbound"


def _lengths(made: list[str]) -> list[Length]:
    def make(line: str) -> Length:
        made.append(line)
        return Length(len(line))

    return kept(["a", "bcd"], make, Length, "1")


def _number(made: list[str]) -> int:
    def make() -> int:
        made.append("pass")
        return 7

    return remembered(Files(), "a pass", make)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


_DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "another number": lambda path: path.write_bytes(path.read_bytes().replace(b"7", b"8")[:-1] + b"?"),
    "deep": lambda path: put(path, b"[" * 100_000),
    "of another type": lambda path: put(path, b"[1]"),
    "a pipe": _pipe,
    "a folder": _folder,
}


@pytest.mark.parametrize("damage", _DAMAGES)
@pytest.mark.parametrize("read", [_lengths, _number])
def test_what_is_damaged_is_made_again(cache, read, damage):
    made: list[str] = []
    first, times = read(made), len(made)
    assert read(made) == first
    assert len(made) == times  # from the cache
    (path,) = (path for path in cache.rglob("*") if path.is_file())
    _DAMAGES[damage](path)
    assert read(made) == first
    assert len(made) == 2 * times


def test_a_cache_that_cannot_be_written_costs_time_alone(cache):
    cache.write_text("a file")
    made: list[str] = []
    assert _number(made) == _number(made) == 7
    assert len(made) == 2
    assert taken(cache / "passes" / "x") is None


def test_nobody_else_writes_into_the_cache_whoever_makes_it(cache: Path) -> None:
    """Compiled graphs are kept there, and taken from nowhere that others write to."""
    before = os.umask(0o002)
    try:
        put(cache / "lines" / "one", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o755
