"""What every reader returns, before the meaning is inferred, the rows are split and the checksum is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from lowerbound.data.series_schema import SeriesSchema

if TYPE_CHECKING:
    import pandas

__all__ = ["Contents", "Given"]

Given: TypeAlias = Union[np.ndarray, "pandas.DataFrame"]
"""Rows in the form that the user gave: an array (N, …), or a DataFrame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Rows and labels as a reader found them.

    Attributes:
        what: the name of the rows in messages.
        container: see `Schema.container`.
        x: the rows; a memory map if the file is too large for memory.
        x_test: the test rows, or None if the file does not say which they are.
        y: the labels of `x`, numbers or text, or None.
        y_test: the labels of `x_test`, or None.
        label: the name of the labels' column or array.
        classes: names of the classes, where `y` holds their numbers already.
        names: of the columns of an array, if they are known.
        array: the array of an archive, or the layer of an AnnData, that the user named, or None.
        covariates: values (N,) of columns that a model is given, by name; None if none were asked for.
        row_names: names of the rows of `x`, such as barcodes of cells, or None.
        series: of which columns series were made, or None.
        starts: the first time of each series (N,), on the scale of `series`, or None.
        notes: decisions made while reading, one sentence each.
        remarks: what may not be what was meant, such as rows that were left out, one sentence each.
    """

    what: str
    container: str
    x: Given
    x_test: Given | None = None
    y: np.ndarray | None = None
    y_test: np.ndarray | None = None
    label: str | None = None
    classes: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    array: str | None = None
    covariates: Mapping[str, np.ndarray] | None = None
    row_names: tuple[str, ...] | None = None
    series: SeriesSchema | None = None
    starts: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
