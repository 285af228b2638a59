"""Rows as a page can show them: pixels, cells, lines of text, molecules or series, in the user's own words.

A view is a dictionary with its `kind`:

========  ==========================================================================================
image     width, height, channels (1 or 3) and pixels: bytes of rows of pixels, base64
table     cells: pairs of a column and its value as text ("" is a gap); `more` columns that are left out
text      text
molecule  text, the SMILES, and svg: its drawing, base64
series    steps: numbers (T, D), and the names of their D columns if they have some
========  ==========================================================================================
"""

from __future__ import annotations

import base64
from typing import Any, TypeAlias

import numpy as np

from lowerbound.data.kinds import kind_named
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.schema import Schema
from lowerbound.plots.molecules import molecule_svg

__all__ = ["View", "cells_of", "encoded", "views_of"]

View: TypeAlias = dict[str, Any]

MOST_CELLS = 60
"""Columns of a row that are shown; of more, those with the largest values."""


def views_of(stored: np.ndarray, schema: Schema) -> list[View]:
    """One view for each row.

    Arguments:
        stored: rows (N, *event_shape) in the units of the user (`Fitted.stored`), also means that are no such rows.
        schema: of the data.
    """
    if schema.is_written:
        texts = texts_in(kind_named(schema.kind).render(stored, schema))
        return [_molecule(text) if schema.molecules is not None else {"kind": "text", "text": text} for text in texts]
    if schema.kind == "image":
        return [_image(row, schema) for row in np.asarray(stored, dtype=np.float64)]
    if len(schema.event_shape) == 1 and schema.columns is not None:
        return [_table(cells) for cells in cells_of(stored, schema)]
    rows = np.asarray(stored, dtype=np.float64)
    return [{"kind": "series", "steps": _steps(row)} for row in rows]


def cells_of(stored: np.ndarray, schema: Schema) -> list[list[tuple[str, str]]]:
    """The columns of each row of a table and their values, rounded as the user's are; of counts as they are."""
    assert schema.columns is not None
    names = [column.name for column in schema.columns]
    if schema.kind == "counts":
        return [[(name, f"{value:.4g}") for name, value in zip(names, row, strict=True)] for row in stored]
    rendered: Any = kind_named(schema.kind).render(np.asarray(stored), schema)
    if isinstance(rendered, np.ndarray):
        columns = rendered.T.tolist()
        names = names if len(columns) == len(names) else [str(i) for i in range(len(columns))]
    else:
        columns = [rendered[name].tolist() for name in rendered.columns]
    texts = [[_as_text(value) for value in column] for column in columns]
    return [list(zip(names, row, strict=True)) for row in zip(*texts, strict=True)]


def encoded(x: np.ndarray, dtype: str = "<f4") -> str:
    """Numbers as base64 of their bytes, which a page reads into a typed array."""
    return base64.b64encode(np.ascontiguousarray(x, dtype=dtype).tobytes()).decode("ascii")


def _as_text(value: Any) -> str:
    if value is None or str(value) in ("<NA>", "NaT", "nan"):  # pandas.NA compares to nothing
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _table(cells: list[tuple[str, str]]) -> View:
    if len(cells) <= MOST_CELLS:
        return {"kind": "table", "cells": cells, "more": 0}
    largest = sorted(cells, key=lambda cell: -_as_number(cell[1]))[:MOST_CELLS]
    return {"kind": "table", "cells": largest, "more": len(cells) - MOST_CELLS}


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _image(row: np.ndarray, schema: Schema) -> View:
    """Levels or intensities (H, W) or (C, H, W) as bytes: grey, or the first three channels as red, green, blue."""
    top = 1.0 if schema.pixel_levels is None else schema.pixel_levels - 1
    pixels = np.clip(np.round(row / top * 255), 0, 255).astype(np.uint8)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if len(pixels) == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    pixels = np.moveaxis(pixels[:3], 0, -1)
    height, width, channels = pixels.shape
    content = encoded(pixels, "u1")
    return {"kind": "image", "width": width, "height": height, "channels": channels, "pixels": content}


def _molecule(smiles: str) -> View:
    drawn = base64.b64encode(molecule_svg([smiles], with_smiles=False).encode()).decode("ascii") if smiles else None
    return {"kind": "molecule", "text": smiles, "svg": drawn}


def _steps(row: np.ndarray) -> list[list[float | None]]:
    """Numbers (T, D); a row of one axis has D = 1. What is missing is null."""
    flat = row.reshape(len(row), -1)
    return [[float(f"{value:.6g}") if np.isfinite(value) else None for value in step] for step in flat.tolist()]
