"""The seam of a reader: what turns a file or a folder of one format into rows and labels.

A new format is one file with a class that does this, a line in `readers`, and one test. Another installed package adds
one by an entry point in the group "lowerbound.readers" that names an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lowerbound.data.contents import Contents

__all__ = ["Asked", "Reader"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user says of a file.

    Attributes:
        label: the column or array of labels, which must be there; None if the user names none.
        usual_label: a column or array that is the label if it is there and no other is named.
        array: the array of rows, of an archive of several.
        usual_array: the array that the user named in the fit, for where no other is named.
        stream_above: the size in bytes above which rows stay on disk, where the format allows that.
    """

    label: str | None = None
    usual_label: str | None = None
    array: str | None = None
    usual_array: str | None = None
    stream_above: int


@runtime_checkable
class Reader(Protocol):
    """One format.

    Attributes:
        suffixes: the endings of its files, in lower case, such as (".csv", ".csv.gz").
        holds_arrays: whether a file may hold several arrays, one of which the user may name.
    """

    suffixes: tuple[str, ...]
    holds_arrays: bool

    def read(self, path: Path, asked: Asked) -> Contents:
        """Rows and labels as the file has them; nothing is inferred, and nothing in the file is executed.

        Raises:
            DataError: the file cannot be read, or lacks what the user asks for.
        """
        ...
