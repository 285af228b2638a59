"""By what the rows of a map can be coloured: labels, clusters, log w, rates, and columns of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowerbound.data import Rows
from lowerbound.data.schema import Column
from lowerbound.explorer.terms import RowTerms
from lowerbound.fitted import Fitted
from lowerbound.plots.latent import MOST_CLASSES

__all__ = ["Colour", "colours_of"]


@dataclass(frozen=True, kw_only=True)
class Colour:
    """One number for each row.

    Attributes:
        name: in the user's words.
        names: of classes, if the numbers are those of classes; None for measurements.
        computed: (N,), NaN (and −1 of classes) where there is none; None for a column of the data.
        column: which column of the data it is.
    """

    name: str
    names: tuple[str, ...] | None = None
    computed: np.ndarray | None = None
    column: int = -1

    def values(self, rows: Rows) -> np.ndarray:
        """(N,), of the rows of the map."""
        return np.asarray(rows.x[:, self.column] if self.computed is None else self.computed, dtype=np.float64)


def colours_of(fitted: Fitted, rows: Rows, assigned: np.ndarray | None, terms: RowTerms) -> tuple[Colour, ...]:
    """All that the rows can be coloured by, the most telling first."""
    found = []
    if rows.y is not None:
        found.append(_of_labels(fitted, rows.y))
    if assigned is not None:
        names, numbers = np.unique(assigned, return_inverse=True)
        found.append(_classes("assigned", tuple(map(str, names)), numbers))
    draws = "1 draw" if terms.num_draws == 1 else f"{terms.num_draws} draws"
    for name, values in (("log w", terms.log_w), ("rate", terms.rate)):
        if values is not None:
            found.append(Colour(name=f"{name} (nats, {draws})", computed=values))
    columns = fitted.schema.columns or () if len(fitted.schema.event_shape) == 1 else ()
    found.extend(_of_column(i, column) for i, column in enumerate(columns))
    return tuple(found)


def _of_labels(fitted: Fitted, y: np.ndarray) -> Colour:
    name = fitted.schema.label or "label"
    name = "label" if name == "y" else name
    if fitted.schema.classes is not None:
        return _classes(name, fitted.schema.classes, y)
    values = np.unique(y)
    if len(values) <= MOST_CLASSES and bool(np.all(values == np.round(values))):
        return _classes(name, tuple(f"{value:g}" for value in values), np.searchsorted(values, y))
    return Colour(name=name, computed=y.astype(np.float64))


def _classes(name: str, names: tuple[str, ...], numbers: np.ndarray) -> Colour:
    """Classes by name; more than can be told apart are a measurement."""
    return Colour(name=name, names=names if len(names) <= MOST_CLASSES else None, computed=numbers.astype(np.float64))


def _of_column(place: int, column: Column) -> Colour:
    few = column.categories is not None and len(column.categories) <= MOST_CLASSES
    return Colour(name=column.name, names=column.categories if few else None, column=place)
