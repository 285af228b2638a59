"""What a user says about data, which overrides the inferred meaning.

    --kind counts      --kind "image:event_shape=[28,28]"
    --kind "text:tokens=character,longest=100"      --kind "molecules:vocabulary=500"
    --columns "age=continuous,sex=categorical,id=drop"      --columns "*=continuous"
    --series patient --time day

"*" means every column that is not named. A column that is given a kind is never left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from lowerbound.data.column_labels import name_of
from lowerbound.data.errors import DataError, clipped, nearest
from lowerbound.data.schema import ColumnKind
from lowerbound.data.smiles import MoleculeOptions
from lowerbound.data.tokens import TextOptions
from lowerbound.spelling import check_options, parse

__all__ = ["Overrides", "parse_columns"]

_OF_ONE_COLUMN = {"text": "text", "molecule": "molecules"}  # a kind of column, and the kind of data that it makes
_WORDS = (*get_args(ColumnKind), *_OF_ONE_COLUMN, "drop")


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What a user says about data.

    Attributes:
        kind: name of a kind of data, or None to infer it.
        columns: from the name of a column to a kind of column, or to "drop".
        event_shape: shape of an image whose pixels are the columns of a table.
        text: how text is cut into tokens.
        molecules: how many fragments are known, and how large a molecule may be.
        series: of a table of steps, the column that names the series of each row.
        time: of a table of steps, the column of times; None takes rows in their order.

    Raises:
        DataError: a word that is no kind of column, a column of text in data of another kind, or times without series.
    """

    kind: str | None = None
    columns: Mapping[Any, str] = field(default_factory=dict)
    event_shape: tuple[int, ...] | None = None
    text: TextOptions = field(default_factory=TextOptions)
    molecules: MoleculeOptions = field(default_factory=MoleculeOptions)
    series: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping):
            raise DataError(
                f"columns is of type {type(self.columns).__name__}; give names and kinds, such as {{'age': 'count'}}."
            )
        self._check_series()
        object.__setattr__(self, "columns", {name_of(name): word for name, word in self.columns.items()})
        for name, word in self.columns.items():
            if word not in _WORDS:
                raise DataError(
                    f"column '{clipped(name)}' cannot be {clipped(word)!r}; choose one of {', '.join(_WORDS)}."
                )
        for word, kind in _OF_ONE_COLUMN.items():
            said = [name for name, of in self.columns.items() if of == word]
            if said and (len(said) > 1 or self.kind not in (None, kind)):
                raise DataError(
                    f"column '{clipped(said[-1])}' is said to be {word}; a model of {word} is of one column, and "
                    f"kind='{kind}'."
                )

    def _check_series(self) -> None:
        if self.time is not None and self.series is None:
            raise DataError(
                f"'{clipped(str(self.time))}' is named as the time and no column as the series; name it with series= "
                "(--series COLUMN)."
            )
        if self.series is not None and self.kind not in (None, "series"):
            raise DataError(f"a column of series was named and the data said to be {self.kind}; say one of them.")
        for name in (self.series, self.time):
            if not isinstance(name, str | None):
                raise DataError(f"series and time are names of columns, and {clipped(repr(name), 30)} was given.")

    @classmethod
    def said(
        cls,
        kind: str | None = None,
        columns: Mapping[Any, str] | None = None,
        event_shape: tuple[int, ...] | None = None,
        series: str | None = None,
        time: str | None = None,
    ) -> Overrides:
        """Make overrides from a kind that may have the shape as an option: "image:event_shape=[28,28]".

        >>> Overrides.said("image:event_shape=[28,28]").event_shape
        (28, 28)

        Raises:
            DataError: another option, or a shape that is none.
        """
        if not isinstance(kind, str | None):
            raise DataError(f"kind is of type {type(kind).__name__}; give the name of a kind of data, such as 'table'.")
        name, options = (None, {}) if kind is None else parse(kind)
        shape = options.pop("event_shape", event_shape)
        text, molecules = TextOptions(), MoleculeOptions()
        if name == "text":
            text, options = _positive("text", TextOptions, options), {}
        if name == "molecules":
            molecules, options = _positive("molecules", MoleculeOptions, options), {}
        if options:
            raise DataError(f"{name} has no option {clipped(next(iter(options)))!r}; write {name}:event_shape=[28,28].")
        sizes = None if shape is None else tuple(shape) if isinstance(shape, list | tuple) else (shape,)
        if sizes is not None and not all(isinstance(n, int) and n > 0 for n in sizes):
            raise DataError(f"event_shape is {clipped(str(shape))}; expected positive whole numbers such as [28,28].")
        return cls(
            kind=name,
            columns=columns or {},
            event_shape=sizes,
            text=text,
            molecules=molecules,
            series=series,
            time=time,
        )

    def of(self, name: str) -> str | None:
        """What the user said about a column, or None."""
        return self.columns.get(name, self.columns.get("*"))

    def check_names(self, known: Iterable[str], what: str) -> None:
        """Refuse a column that is not there.

        Raises:
            DataError: naming it, and the nearest names.
        """
        known = list(known)
        for name in self.columns:
            if name != "*" and name not in known:
                offered = ", ".join(f"'{clipped(near)}'" for near in nearest(name, known))
                raise DataError(
                    f"{what} has no column '{clipped(name)}'; the nearest of its {len(known)} names: {offered}."
                )


_Options = TypeVar("_Options", TextOptions, MoleculeOptions)


def _positive(name: str, cls: type[_Options], options: Mapping[str, object]) -> _Options:
    """The options of text or molecules.

    Raises:
        DataError: an unknown one, or a number below one.
    """
    try:
        found = cls(**check_options(name, cls, options))
    except ValueError as error:
        raise DataError(str(error)) from None
    for word in ("longest", "vocabulary"):
        number = getattr(found, word)
        if number is not None and number < 1:
            raise DataError(f"{name} got {word}={number} and needs at least 1.")
    return found


def parse_columns(text: str) -> dict[str, str]:
    """From the words of the command line.

    >>> parse_columns("age=continuous, id=drop")
    {'age': 'continuous', 'id': 'drop'}

    Raises:
        DataError: a part without "=".
    """
    found = {}
    for part in text.split(","):
        name, equals, word = part.rpartition("=")
        if not equals or not name.strip():
            raise DataError(
                f"'{clipped(part.strip())}' says nothing about a column; write NAME=KIND with {', '.join(_WORDS)}."
            )
        found[name.strip()] = word.strip()
    return found
