"""The meaning of the numbers of a data set: its kind, columns and classes, and the form in which the user gave it.

A schema is inferred once, when data is read for a fit, printed in a few lines, and saved in the run. From then on it
decides how other data are read: columns and classes are matched by name and never renumbered. The type in which numbers
are stored has no influence: bytes are pixels only if the schema says image.

Each kind of data is one file of `lowerbound.data.kinds`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np

from lowerbound.data.covariates import Covariate
from lowerbound.data.errors import clipped
from lowerbound.data.labels import spells_a_number
from lowerbound.data.series_schema import SeriesSchema
from lowerbound.typed import WrongType, annotations_of, as_annotated

__all__ = [
    "UNNAMED",
    "Column",
    "ColumnKind",
    "LeftOut",
    "MoleculeSchema",
    "Schema",
    "TextSchema",
    "Tokens",
    "plain_dtype",
]

Tokens: TypeAlias = Literal["word", "character", "bpe", "selfies"]
"""What a text is cut into: words between spaces, characters, byte pairs (`data.byte_pairs`), or the symbols of SELFIES
(`data.selfies`), where a text is the SMILES of a molecule."""

ColumnKind: TypeAlias = Literal["continuous", "positive", "count", "categorical", "ordinal", "boolean", "date"]
"""What a column of a table holds. Booleans, categories and ordinals are numbered in the order of `Column.categories`;
dates are seconds since 1970."""

_OF_COLUMNS = ("table", "counts")

_AS_THEY_ARE = (None, ("0", "1"), ("False", "True"))  # categories whose numbers are their values

_MOST_DECIMALS = 308  # of a float64

_OF_PYARROW = {
    "bool": "boolean", "string": "string", "large_string": "string", "double": "float64", "float": "float32",
    "halffloat": "float32",
}  # fmt: skip

UNNAMED = ("npy", "npz", "array")
"""Containers whose columns have numbers and no names."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        name: as the user wrote it.
        kind: what it holds.
        dtype: the type of the column that the user gave ("int64", "object", "category", "datetime64[ns]", …), which
            `render` gives back.
        categories: the values of a categorical, ordinal or boolean column, as text, in the order of their numbers.
        decimals: the most digits after the decimal point that were seen, to which `render` rounds; None without limit.
        format: the format of dates, as in `strftime`; `render` rounds to its unit.
        low: the smallest value in the file of the fit.
        high: the largest value in it.
        missing: how many of its entries are missing.
        distinct: how many values a continuous column has in the file of the fit, where they are few; else None.
        usual_decimals: fewer digits, to which most values were recorded, if they were (`recorded`); else None.
        usual_share: how many of them.
        literal: whether the user's name is no text but the number or the tuple that `name` spells.
    """

    name: str
    kind: ColumnKind
    dtype: str = "float64"
    categories: tuple[str, ...] | None = None
    decimals: int | None = None
    format: str | None = None
    low: float | None = None
    high: float | None = None
    missing: int = 0
    distinct: int | None = None
    usual_decimals: int | None = None
    usual_share: float | None = None
    literal: bool = False


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A column that is left out of the data, and the reason: "a number for each row", "one value only", …

    Attributes:
        name: its name.
        reason: why.
        value: of each row, for a column of an array that does not vary: such rows get it back.
    """

    name: str
    reason: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class TextSchema:
    """What numbers the tokens of a text (`data.tokens`).

    Attributes:
        tokens: what a text is cut into.
        symbols: the tokens by number; 0 is the end of a text, and 1 every token that has no number.
        column: the column of a table that held the texts, or None.
        num_tokens: how many tokens the training part has, without ends.
        num_unknown: how many of them have no number.
        merges: of byte pairs, the pairs that were joined, in their order.
    """

    tokens: Tokens
    symbols: tuple[str, ...]
    column: str | None = None
    num_tokens: int = 0
    num_unknown: int = 0
    merges: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MoleculeSchema:
    """What numbers the symbols of molecules (`data.fragments`).

    Attributes:
        symbols: by number; 0 is the end of a molecule, 1 is never used, then come joined rings, atoms and fragments.
        column: the column of a table that held the SMILES, or None.
        num_molecules: how many the training part has.
        num_by_atoms: how many of them hold a fragment that is none of the symbols, and is written by atoms.
        rings: whether ring systems that are none of the symbols are taken apart at their single bonds first.
    """

    symbols: tuple[str, ...]
    column: str | None = None
    num_molecules: int = 0
    num_by_atoms: int = 0
    rings: bool = False


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What the numbers of a data set mean.

    Attributes:
        kind: name of a kind of `lowerbound.data.kinds`: "image", "table", "counts", "text", "molecules", "array", …
        event_shape: shape of one row, as a likelihood scores it.
        container: what the user gave: "csv", "parquet", "npy", "npz", "frame", "array", "folder", "txt", "smi", "list",
            "h5ad", "anndata", "10x", or the name of a data set.
        dtype: the type of the array that the user gave, which `render` gives back; tables by column have one for each.
        columns: of a table; None for other kinds.
        left_out: columns that are no part of the data.
        array: the array of an archive, or the layer of an AnnData, that the user named, which other data must have too;
            None if none was named.
        label: the column (or array) of labels, or None.
        label_dtype: the type of the labels that the user gave, or None.
        classes: names of the label's classes as text, in the order of their numbers; None if labels are no classes.
        pixel_levels: K where stored pixels are the whole numbers 0 … K − 1; None where they are intensities in [0, 1].
        intensity_levels: K where intensities are the levels k / (K − 1); None where they are any numbers in [0, 1].
        channels_last: whether the user's images have their channels on the last axis.
        text: what numbers the tokens of text; None for other kinds.
        molecules: what numbers the symbols of molecules; None for other kinds.
        covariates: columns that the model is given and does not model.
        series: of which columns of a table of steps the series were made; None for other kinds.
        levels: what the levels of the names of columns are called, one each; () for names of one level without it.
    """

    kind: str
    event_shape: tuple[int, ...]
    container: str = "array"
    dtype: str = "float64"
    columns: tuple[Column, ...] | None = None
    left_out: tuple[LeftOut, ...] = ()
    label: str | None = None
    label_dtype: str | None = None
    classes: tuple[str, ...] | None = None
    pixel_levels: int | None = None
    intensity_levels: int | None = None
    channels_last: bool = False
    text: TextSchema | None = None
    molecules: MoleculeSchema | None = None
    array: str | None = None
    covariates: tuple[Covariate, ...] = ()
    levels: tuple[str | None, ...] = ()
    series: SeriesSchema | None = None

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the columns of a table."""
        return None if self.columns is None else tuple(column.name for column in self.columns)

    @property
    def has_names(self) -> bool:
        """Whether the user named the columns, so that other data must have the same names."""
        return self.columns is not None and self.container not in UNNAMED

    @property
    def rows_called(self) -> str:
        """What rows of its kind are called."""
        return self.kind if self.kind.endswith("s") else f"{self.kind}s"

    @property
    def of_numbers(self) -> bool:
        """Whether every stored number is the user's own, not that of a category or token, or seconds of a date."""
        if self.is_written:
            return False
        return all(column.kind != "date" and column.categories in _AS_THEY_ARE for column in self.columns or ())

    @property
    def is_written(self) -> bool:
        """Whether a row is symbols up to an end, which are written one after another: texts and molecules."""
        return self.text is not None or self.molecules is not None

    def laid_out(self, stored: np.ndarray) -> np.ndarray:
        """Stored rows with the channels of images on the axis where the user has them, and the columns of an array that
        do not vary.
        """
        return np.moveaxis(stored, 1, -1) if self.channels_last else self.with_constants(stored)

    def with_constants(self, x: np.ndarray) -> np.ndarray:
        """Rows of an array with the columns that were left out because they do not vary, in the user's order."""
        constant = {item.name: item.value for item in self.left_out if item.value is not None}
        if not constant or self.has_names:
            return x
        full = np.concatenate([x, np.tile(list(constant.values()), (len(x), 1))], 1)
        return full[:, np.argsort([int(name) for name in (*(self.column_names or ()), *constant)])]

    @property
    def unordered(self) -> tuple[int, ...]:
        """Places of the columns whose numbers are only names, as scores of disentanglement ask (`unordered=`)."""
        return tuple(i for i, column in enumerate(self.columns or ()) if column.kind == "categorical")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a run folder; default values of columns are left out."""
        usual = {field.name: field.default for field in fields(Column)}
        columns = None if self.columns is None else [asdict(column) for column in self.columns]
        short = columns and [{k: v for k, v in column.items() if v != usual[k]} for column in columns]
        return {**asdict(replace(self, columns=None)), "columns": short}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Schema:
        """From what `to_json` gave.

        Raises:
            ValueError: it is not a schema.
        """
        try:
            values = dict(content)
            columns, left_out = values.pop("columns", None), values.pop("left_out", None) or ()
            made = None if columns is None else _all_made(Column, columns)
            if values.pop("numbered", False) and made is not None:  # as runs before levels say it
                made = tuple(replace(column, literal=True) for column in made)
            covariates = _all_made(Covariate, values.pop("covariates", None) or ())
            if made is None and values.get("kind") in _OF_COLUMNS:
                raise ValueError("'columns' is missing")
            text = values.pop("text", None)
            text = None if text is None else _made(TextSchema, text)
            molecules = values.pop("molecules", None)
            molecules = None if molecules is None else _made(MoleculeSchema, molecules)
            series = values.pop("series", None)
            series = None if series is None else _made(SeriesSchema, series)
            schema = _made(
                cls,
                values,
                columns=made,
                left_out=_all_made(LeftOut, left_out),
                text=text,
                molecules=molecules,
                series=series,
                covariates=covariates,
            )
            _check(schema)
            return schema
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The schema of the data is not readable ({clipped(str(error), 100)}); it was altered, or is newer."
            ) from None


def _check(schema: Schema) -> None:
    """Refuse what no data are like.

    Raises:
        ValueError: saying what.
    """
    shape, columns = schema.event_shape, schema.columns
    if not shape or min(shape) < 1:
        raise ValueError(f"rows of shape {shape}")
    if columns is not None and shape != (len(columns),):
        raise ValueError(f"{len(columns)} columns in rows of shape {shape}")
    for column in columns or ():
        if column.kind in ("categorical", "ordinal", "boolean") and not column.categories:
            raise ValueError(f"a {column.kind} column without categories")
        if column.literal and not _is_literal(column.name):
            raise ValueError("a name of a column that is neither text nor a number or a tuple")
        if column.decimals is not None and not 0 <= column.decimals <= _MOST_DECIMALS:
            raise ValueError(f"a column of {column.decimals} decimals")
        if not _is_recorded(column):
            raise ValueError(f"a column of {column.usual_decimals} usual decimals and a share of {column.usual_share}")
        if column.categories is None and not _is_known(plain_dtype(column.dtype).lower()):
            raise ValueError(f"a column of numbers of the type {column.dtype[:30]!r}")
        if _has_categories_of_numbers(column) and not all(spells_a_number(name) for name in column.categories or ()):
            raise ValueError(f"a column of {column.dtype} with categories that are no numbers")
    if (schema.kind == "text") != (schema.text is not None) or (schema.text and len(schema.text.symbols) < 3):
        raise ValueError("text without a vocabulary, or a vocabulary without text")
    if (schema.kind == "molecules") != (schema.molecules is not None):
        raise ValueError("molecules without symbols, or symbols without molecules")
    if (schema.kind == "series") != (schema.series is not None) or (schema.series and not schema.series.fits(shape)):
        raise ValueError("series without their columns and steps, or columns of steps without series")
    for covariate in schema.covariates:
        if covariate.categories is not None and len(covariate.shares) != len(covariate.categories):
            raise ValueError("a covariate whose shares are not those of its categories")
    for levels in (schema.pixel_levels, schema.intensity_levels):
        if levels is not None and levels < 2:
            raise ValueError(f"{levels} levels of pixels")


def _is_recorded(column: Column) -> bool:
    """Whether digits to which most values were recorded are fewer than all, and have a share."""
    if column.usual_decimals is None:
        return column.usual_share is None
    share = column.usual_share
    return share is not None and 0 <= share <= 1 and 0 <= column.usual_decimals < (column.decimals or 0)


def _is_known(dtype: str) -> bool:
    """Whether a type that is named as one of whole numbers is one."""
    if not dtype.startswith(("int", "uint")):
        return True
    try:
        return np.dtype(dtype).kind in "iu"
    except TypeError:
        return False


def _has_categories_of_numbers(column: Column) -> bool:
    """Whether the user's column holds numbers, so that the names of its categories are numbers too."""
    dtype = plain_dtype(column.dtype)
    inner = dtype.removeprefix("category").strip("[]")
    return bool(inner) and dtype not in ("object", "str", "string") and not dtype.startswith("bool")


def plain_dtype(dtype: str) -> str:
    """The type of pandas that holds what a type of pyarrow or a sparse one holds; any other as it is.

    >>> plain_dtype("int64[pyarrow]"), plain_dtype("Sparse[float64, nan]"), plain_dtype("int64")
    ('Int64', 'float64', 'int64')
    """
    if dtype.startswith("Sparse["):
        return dtype.removeprefix("Sparse[").partition(",")[0].rstrip("]")
    name = dtype.removesuffix("[pyarrow]")
    if name == dtype:
        return dtype
    if name.startswith(("int", "uint")):
        return name.replace("uint", "UInt").replace("int", "Int")
    return _OF_PYARROW.get(name, dtype)


def _is_literal(name: str) -> bool:
    try:
        ast.literal_eval(name)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


_Made = TypeVar("_Made")


def _all_made(cls: type[_Made], contents: Any) -> tuple[_Made, ...]:
    """The same for a list."""
    if not isinstance(contents, list | tuple):
        raise ValueError(f"{cls.__name__} is {clipped(repr(contents), 30)}, expected a list")
    return tuple(_made(cls, content) for content in contents)


def _made(cls: type[_Made], content: Any, **others: Any) -> _Made:
    """An object of plain values, each of the type that its attribute has.

    Raises:
        ValueError: one is of another type, has another name or is missing.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{cls.__name__} is {clipped(repr(content), 30)}, expected names and values")
    hints = annotations_of(cls)
    unknown = sorted(set(content) - set(hints))
    if unknown:
        raise ValueError(f"there is no {clipped(unknown[0], 40)!r}")
    missing = [f.name for f in fields(cast(Any, cls)) if f.default is MISSING and f.name not in content]
    if missing:
        raise ValueError(f"{missing[0]!r} is missing")
    values = {}
    for name, value in content.items():
        try:
            values[name] = as_annotated(value, hints[name])
        except WrongType as error:
            raise ValueError(f"{name} is {clipped(repr(value), 30)}, {error}") from None
    return cls(**values, **others)
