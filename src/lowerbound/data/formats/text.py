"""Text files: one record a line, in UTF-8, as they are or compressed by gzip."""

from __future__ import annotations

import glob
import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.lines import Lines, is_no_text, no_text, not_in_utf_8
from lowerbound.data.memory import size_in_words

__all__ = ["around_lines", "read_smiles", "read_text", "read_texts", "texts_in"]

_ENDINGS, _OF_MOLECULES = (".txt", ".txt.gz"), (".smi.txt", ".smi.txt.gz")
_UNPACKED = 4  # bytes of text, about, for each that is compressed
_IN_MEMORY = 8  # bytes that each byte of text takes, about: the texts, their tokens, and rows of the longest length


def texts_in(path: Path) -> list[Path]:
    """The text files of a folder of nothing else, or of a pattern, in the order of their names; none otherwise."""
    if os.path.isdir(path):
        files = [one for one in path.iterdir() if one.name[0] != "."]
    elif glob.has_magic(str(path)) and not os.path.exists(path):
        files = [one for one in map(Path, glob.glob(str(path))) if one.is_file()]
    else:
        files = []
    return sorted(files) if all(map(_is_text, files)) else []


def _is_text(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(_ENDINGS) and not name.endswith(_OF_MOLECULES) and path.is_file()


def read_texts(files: Sequence[Path], name: str, label: str | None, stream_above: int) -> Contents:
    """The lines of text files, one file after another.

    Arguments:
        files: .txt or .txt.gz files.
        name: of them all.
        label: must be None, because lines have no columns.
        stream_above: bytes in memory, about, above which lines are read again whenever they are needed.

    Raises:
        DataError: a label is named, or a file cannot be read, holds no text, or none in UTF-8.
    """
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given and '{name}' has no columns; save both as .csv.")
    size = sum(file.stat().st_size * (_UNPACKED if file.name.lower().endswith(".gz") else 1) for file in files)
    if size * _IN_MEMORY > stream_above:
        note = f"Texts stay on disk (about {size_in_words(size)}), and so do their tokens; any text is read alone."
        lines: Any = Lines(files, f"'{name}'")
        return Contents(what=name, container="txt", x=lines, notes=(note,))
    parts = [lines for file in files if (lines := _lines(file, clipped(file.name)))]
    if not any(line.strip() for lines in parts for line in lines):
        raise _empty(name, "text")
    return Contents(what=name, container="txt", x=np.array([line for lines in parts for line in lines], dtype=object))


def read_text(path: Path, label: str | None) -> Contents:
    """The lines of a text file, in memory.

    Arguments:
        path: a .txt or .txt.gz file.
        label: must be None, because lines have no columns.

    Raises:
        DataError: a label is named, or the file cannot be read, holds no text, or none in UTF-8.
    """
    name = clipped(path.name)
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given and '{name}' has no columns; save both as .csv.")
    lines = _lines(path, name)
    if not any(line.strip() for line in lines):
        raise _empty(name, "SMILES" if ".smi" in name.lower() else "text")
    return Contents(what=name, container="txt", x=np.array(lines, dtype=object))


def _lines(path: Path, name: str) -> list[str]:
    """The lines of a file; none of one without a byte."""
    content = _content(path, name)
    if is_no_text(content):
        raise no_text(path.name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise not_in_utf_8(line, name) from None
    return text.removesuffix("\n").split("\n") if text else []  # the carriage return of Windows is white space


def _empty(name: str, word: str) -> DataError:
    return DataError(f"'{name}' is empty; expected one {word} a line.")


def read_smiles(path: Path, label: str | None) -> Contents:
    """The lines of a file of SMILES, without its heading; for the rest see `read_text`."""
    found = read_text(path, label)
    headed = len(found.x) > 1 and found.x[0].split()[:1] in (["smiles"], ["SMILES"], ["Smiles"])
    return replace(found, container="smi", x=found.x[1:] if headed else found.x)


def around_lines(path: Path, lines: Sequence[str]) -> tuple[str, str]:
    """What stands in a text file before its first line and after its last, which no line says.

    Before are the mark of UTF-8 that some programs write and the heading of a file of SMILES; after is the end of the
    last line, where it has one.

    Arguments:
        path: a file that `read_text` or `read_smiles` reads.
        lines: those that were read.
    """
    text, body = _content(path, clipped(path.name)).decode("utf-8", errors="replace"), "\n".join(lines)
    end = "\n" if text.endswith("\n") else ""
    before = text[: len(text) - len(body) - len(end)]
    return (before, end) if before + body + end == text else ("", "\n")


def _content(path: Path, name: str) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise DataError(f"'{name}' cannot be read ({reason}); save it again.") from None
    except MemoryError:
        raise DataError(f"'{name}' is too large for memory; take a part of it.") from None
