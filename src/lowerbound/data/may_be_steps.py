"""Whether a table may be one of steps of series, so that whoever gives it can be told how to say so.

It may be if a column of times counts up evenly within each value of another column, and the same times occur under
several of these values. Nothing is changed by it: only the user knows what a row is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lowerbound.data.cells import Cells, read_cells
from lowerbound.data.errors import clipped
from lowerbound.data.times_of_steps import usual_step

__all__ = ["steps_in_words"]

_MOST_ROWS, _MOST_COLUMNS = 20_000, 20
_FEWEST_ROWS, _ROWS_OF_A_SERIES, _EVEN = 12, 3, 0.8


def steps_in_words(frame: Any, what: str) -> str | None:
    """A sentence for the user about a DataFrame that may be a table of steps; None for others."""
    part = frame.iloc[:_MOST_ROWS, :_MOST_COLUMNS]
    if len(part) < _FEWEST_ROWS:
        return None
    cells = {str(name): read_cells(part.iloc[:, i]) for i, name in enumerate(part.columns)}
    times = {name: column.numbers for name, column in cells.items() if _may_be_times(column)}
    for name, column in cells.items() if times else ():
        codes = _codes(column)
        if codes is None:
            continue
        for time, numbers in times.items():
            if time != name and _count_up(numbers, codes):
                series, of = clipped(name, 30), clipped(time, 30)
                return (
                    f"{what} may be a table of steps, for '{of}' counts up within each value of '{series}': if so, say "
                    f"--series '{series}' --time '{of}' (series=, time= in Python); here each row stands for itself."
                )
    return None


def _may_be_times(cells: Cells) -> bool:
    """Dates or whole numbers, without gaps."""
    x = cells.numbers
    if x is None or cells.nature not in ("date", "number") or not np.isfinite(x).all():
        return False
    return cells.nature == "date" or bool((x == np.round(x)).all())


def _codes(cells: Cells) -> np.ndarray | None:
    """Numbers of the values of text or whole numbers, each of which occurs several times; None for other columns."""
    import pandas

    if cells.texts is None and not _may_be_times(cells):
        return None
    codes, names = pandas.factorize(cells.as_texts())
    count = len(names)
    return codes if (codes >= 0).all() and 2 <= count <= len(codes) / _ROWS_OF_A_SERIES else None


def _count_up(numbers: Any, codes: np.ndarray) -> bool:
    """Whether times differ within each value, mostly by the same step, and occur under several values."""
    if len(np.unique(numbers)) == len(numbers):
        return False
    order = np.lexsort((numbers, codes))
    differences = np.diff(numbers[order])[np.diff(codes[order]) == 0]
    step = usual_step(numbers, codes)
    if step is None or not (differences > 0).all():
        return False
    return bool((np.abs(differences - step) <= 1e-6 * step).mean() >= _EVEN)
