"""What is made from rows that are series, as a table of steps with their names and times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from lowerbound.data.assemble import Rows
from lowerbound.data.frame_of_series import frame_of_series
from lowerbound.data.steps_of_series import seen_until

__all__ = ["first_rows", "frame_like"]


def frame_like(stored: Float[np.ndarray, "series step channel"], rows: Rows) -> Any:
    """A DataFrame of steps made from the first of some rows, up to the last step of each that has a number."""
    assert rows.row_names is not None
    assert rows.starts is not None
    count = len(stored)
    lengths = seen_until(np.asarray(rows.x[:count], dtype=np.float64))
    return frame_of_series(
        stored, rows.schema, names=rows.row_names[:count], starts=rows.starts[:count], lengths=lengths
    )


def first_rows(rows: Rows, count: int) -> Rows:
    """The first of some rows, with their names and times."""
    parts = ("x", "y", "numbers", "covariates", "row_names", "starts")
    some = {name: getattr(rows, name) for name in parts}
    return replace(rows, num_test=0, **{name: part if part is None else part[:count] for name, part in some.items()})
