"""A row that a user makes on the page: a drawing, the cells of a row, a line of text, a SMILES, or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lowerbound.data import DataError, Rows
from lowerbound.data.rows_of_columns import stored_cell
from lowerbound.data.schema import Column, Schema
from lowerbound.fitted import Fitted

__all__ = ["form_of", "own_row"]

MOST_FIELDS = 60
"""Columns that have a field of their own; the values of more are given in one line."""


def form_of(schema: Schema) -> dict[str, Any]:
    """How a row is asked for: its `kind` ("image", "text", "fields" or "numbers") and what that needs."""
    if schema.is_written:
        return {"kind": "text", "word": "SMILES" if schema.molecules is not None else "text"}
    shape, columns = schema.event_shape, schema.columns
    if schema.kind == "image":
        return {"kind": "image", "height": shape[-2], "width": shape[-1], "channels": math.prod(shape[:-2])}
    if columns is not None and len(columns) <= MOST_FIELDS:
        return {"kind": "fields", "columns": [{"name": c.name, "values": c.categories} for c in columns]}
    return {"kind": "numbers", "shape": list(shape), "count": math.prod(shape)}


def own_row(fitted: Fitted, given: Any, y: np.ndarray | None, covariates: np.ndarray | None) -> Rows:
    """One row, stored as those of the fit.

    Arguments:
        fitted: the model.
        given: a str of a text or a SMILES; values by column as text ("" is a gap); or numbers in the order of the row,
            for images from 0 (black) to 1 (white).
        y: the number of its class (1,), or None.
        covariates: (1, C), or None.

    Raises:
        DataError: it is no such row; the sentence names the column.
    """
    schema = fitted.schema
    if schema.is_written:
        if not isinstance(given, str):
            raise DataError(f"a row of {schema.kind} is one text; got a {type(given).__name__}.")
        return fitted.rows([given])
    x = _of_cells(given, schema) if isinstance(given, Mapping) else _of_numbers(given, schema)
    return Rows(x=x, y=y, num_test=0, name="the row", schema=schema, covariates=covariates)


def _of_cells(given: Mapping[str, Any], schema: Schema) -> np.ndarray:
    columns = schema.columns or ()
    unknown = sorted(set(map(str, given)) - {column.name for column in columns})
    missing = [column.name for column in columns if column.name not in given]
    if unknown or missing:
        which = f"has no column '{unknown[0][:40]}'" if unknown else f"lacks the column '{missing[0][:40]}'"
        raise DataError(f"the row {which}; give the columns of the model, each once.")
    return _typed(np.array([[_cell(given[column.name], column) for column in columns]]), schema)


def _cell(value: Any, column: Column) -> float:
    if value == "" or value is None:
        return math.nan
    if not isinstance(value, str):
        raise DataError(f"column '{column.name[:40]}' of the row is a {type(value).__name__}; give its value as text.")
    stored = stored_cell(value, column, "the row")
    if column.kind in ("count", "positive") and stored < 0:
        raise DataError(f"column '{column.name[:40]}' of the row is {value[:40]!r}; expected a number from 0 on.")
    return stored


def _of_numbers(given: Any, schema: Schema) -> np.ndarray:
    count = math.prod(schema.event_shape)
    is_list = isinstance(given, Sequence) and all(isinstance(one, int | float) for one in given)
    if not is_list or len(given) != count:
        got = f"{len(given)} of them" if is_list else f"a {type(given).__name__}"
        raise DataError(f"a row of these data has {count:,} numbers; got {got}.")
    x = np.array(given, dtype=np.float64)
    if schema.kind == "image":
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise DataError("a drawing holds numbers from 0 to 1; got others.")
        levels = schema.pixel_levels or schema.intensity_levels
        if levels is not None:
            x = np.round(x * (levels - 1)) / (1 if schema.pixel_levels is not None else levels - 1)
    return _typed(x.reshape(1, *schema.event_shape), schema)


def _typed(x: np.ndarray, schema: Schema) -> np.ndarray:
    """In the type in which rows of this kind are stored."""
    if schema.kind == "image":
        return x.astype(np.float32 if schema.pixel_levels is None else np.uint8)
    return x.astype(np.float32) if schema.kind == "counts" else x
