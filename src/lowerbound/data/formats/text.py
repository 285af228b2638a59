"""Text files: one record a line, in UTF-8, as they are or compressed by gzip."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError, clipped

__all__ = ["is_no_text", "read_smiles", "read_text"]

_LOOKED_AT = 2**16
_MOST_CONTROLS = 0.02


def read_text(path: Path, label: str | None) -> Contents:
    """The lines of a text file.

    Arguments:
        path: a .txt or .txt.gz file.
        label: must be None, because lines have no columns.

    Raises:
        DataError: a label is named, or the file cannot be read, holds no text, or none in UTF-8.
    """
    name = clipped(path.name)
    if label is not None:
        raise DataError(f"label='{clipped(label)}' was given and '{name}' has no columns; save both as .csv.")
    content = _content(path, name)
    if not content.strip():
        raise DataError(f"'{name}' is empty; expected one {'SMILES' if '.smi' in name.lower() else 'text'} a line.")
    if is_no_text(content):
        raise DataError(f"'{name}' is no text (it holds control characters); give a file with one text a line.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"line {line:,} of '{name}' is not in UTF-8; convert the file, as in iconv -f LATIN1 -t UTF-8."
        ) from None
    lines = text.removesuffix("\n").split("\n")  # the carriage return of Windows is white space at an end
    return Contents(what=name, container="txt", x=np.array(lines, dtype=object))


def read_smiles(path: Path, label: str | None) -> Contents:
    """The lines of a file of SMILES, without its heading; for the rest see `read_text`."""
    found = read_text(path, label)
    headed = len(found.x) > 1 and found.x[0].split()[:1] in (["smiles"], ["SMILES"], ["Smiles"])
    return replace(found, container="smi", x=found.x[1:] if headed else found.x)


def _content(path: Path, name: str) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise DataError(f"'{name}' cannot be read ({reason}); save it again.") from None
    except MemoryError:
        raise DataError(f"'{name}' is too large for memory; take a part of it.") from None


def is_no_text(content: bytes) -> bool:
    """Whether bytes hold so many control characters that they are something else than text in UTF-8."""
    return b"\0" in content or (bool(content) and _controls(content[:_LOOKED_AT]) > _MOST_CONTROLS)


def _controls(content: bytes) -> float:
    """The fraction of control characters other than those of white space."""
    values = np.frombuffer(content, dtype=np.uint8)
    return float(((values < 32) & (values != 9) & (values != 10) & (values != 12) & (values != 13)).mean())
