"""The format of a text file of rows: its delimiter, its decimal mark, and whether every row has a cell for each name.

The delimiter is the one that gives the first line most cells and every other line as many. A file in which a row has
more or fewer cells than there are names is refused, because names and cells would not match. "1,5" is a number where
commas do not separate cells; where it could also be one and a half thousand ("1,500") the file is refused.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lowerbound.data.checks import SAVED_AS_AN_ARRAY, check_width
from lowerbound.data.errors import DataError, clipped

__all__ = ["Format", "look_at"]

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE, _MOST_CHARACTERS = 200, 2**24
_COMMA = re.compile(r"[+-]?\d+,\d+")
_COMMA_AFTER_POINTS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+")
_POINT = re.compile(r"[+-]?\d+\.\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True, kw_only=True)
class Format:
    """The format of a text file of rows.

    Attributes:
        delimiter: between cells.
        decimal: "." or ",".
        thousands: between groups of three digits, or None.
        names: the cells of the first line.
    """

    delimiter: str
    decimal: str
    thousands: str | None
    names: tuple[str, ...]


def look_at(path: Path) -> Format:
    """Find the format of a file, and check that all its rows are as wide as its first line.

    Raises:
        DataError: they are not, or its numbers can be read in two ways.
        ValueError: it is not text.
        OSError: it cannot be read.
    """
    with _open(path) as stream:
        sample = list(_first_lines(stream))
    delimiter = _delimiter(sample)
    names = _check_widths(path, delimiter)
    decimal, thousands = _marks(sample, delimiter, clipped(path.name))
    return Format(delimiter=delimiter, decimal=decimal, thousands=thousands, names=names)


def _open(path: Path) -> io.TextIOWrapper:
    if path.name.lower().endswith(".gz"):
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _first_lines(stream: io.TextIOWrapper) -> Iterator[str]:
    """Some lines, fewer where they are long, and two at least."""
    length = 0
    for number, line in enumerate(islice(stream, _SAMPLE)):
        length += len(line)
        if number > 1 and length > _MOST_CHARACTERS:
            return
        yield line


def _delimiter(sample: list[str]) -> str:
    """The delimiter with which most lines are as wide as the first; of several, the one with most cells."""
    best, best_score = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in _rows(sample, delimiter)]
        except ValueError:  # such as a long line that it does not cut into cells
            continue
        if not widths or widths[0] < 2:
            continue
        score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _rows(lines: list[str] | io.TextIOWrapper, delimiter: str) -> Iterator[list[str]]:
    """The rows that are not empty; a `ValueError` if the csv module cannot read the file."""
    try:
        yield from (row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row)
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _check_widths(path: Path, delimiter: str) -> tuple[str, ...]:
    """The names in the first line, no more than a table may have; every other row must have a cell for each."""
    name = clipped(path.name)
    with _open(path) as stream:
        rows = _rows(stream, delimiter)
        names = tuple(next(rows, []))
        check_width(len(names), name, SAVED_AS_AN_ARRAY)
        for number, row in enumerate(rows):
            if len(row) != len(names):
                raise DataError(
                    f"row {number} of {name} has {len(row)} cells and its first line {len(names)} names; give each "
                    "column one name, and each row one cell for each."
                )
    return names


def _marks(sample: list[str], delimiter: str, name: str) -> tuple[str, str | None]:
    """The decimal mark and the mark between thousands."""
    cells = [cell.strip() for row in list(_rows(sample, delimiter))[1:] for cell in row]
    commas = [cell for cell in cells if _COMMA.fullmatch(cell)]
    grouped = [cell for cell in cells if _COMMA_AFTER_POINTS.fullmatch(cell)]
    if not commas and not grouped:
        return ".", None
    points = [cell for cell in cells if _POINT.fullmatch(cell)]
    thousands = commas and not grouped and all(_THOUSANDS.fullmatch(cell) for cell in commas)
    if delimiter == "," or thousands or (points and not grouped):
        raise DataError(
            f"{name} holds {(commas or grouped)[0]!r}, which can be read in two ways (decimals or thousands) or goes "
            "with other marks; write numbers with a decimal point and no other mark."
        )
    return ",", "." if grouped else None
