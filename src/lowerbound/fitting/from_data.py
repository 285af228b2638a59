"""Options of a likelihood that the data decide where the user does not say them: classes, levels, columns, symbols.

A likelihood names such options among its facts (`LikelihoodFacts.from_data`). An option that the data cannot decide
keeps the default of its class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lowerbound import likelihoods
from lowerbound.data import Dataset
from lowerbound.data.blocks import row_blocks
from lowerbound.data.kinds.table import columns_spelling
from lowerbound.spelling import find, inner, outer, parse, spelled
from lowerbound.support import LikelihoodFacts

__all__ = ["completed"]


def completed(likelihood: str, dataset: Dataset) -> str:
    """The words of a likelihood with the options that the data decide.

    Arguments:
        likelihood: in words; for one made of another (`site`), the other's options are decided too.
        dataset: the data, training and test rows.
    """
    name, options = parse(likelihood)
    cls = find(likelihoods, name)
    if hasattr(cls, "same_facts_as") and isinstance(options.get("site"), str):
        options["site"] = outer(completed(inner(options["site"]), dataset))
    facts = getattr(cls, "facts", None)
    for option in facts.from_data if isinstance(facts, LikelihoodFacts) else ():
        value = None if option in options else _DECIDED[option](dataset)
        if value is not None:
            options[option] = value
    return spelled(name, options)


def _columns(dataset: Dataset) -> str | None:
    columns = dataset.schema.columns
    return None if columns is None else columns_spelling(columns)


def _of_symbols(option: str, dataset: Dataset) -> Any:
    """What the default of texts and molecules says, where their symbols are known."""
    return parse(dataset.default_likelihood)[1].get(option) if dataset.schema.is_written else None


def _num_levels(dataset: Dataset) -> int | None:
    return dataset.schema.pixel_levels or dataset.schema.intensity_levels


def _num_classes(dataset: Dataset) -> int | None:
    """The levels of an image; else one more than the largest number of both parts, if all are whole and none is below
    0.
    """
    if dataset.schema.pixel_levels is not None:
        return dataset.schema.pixel_levels
    highest = 1.0
    for x, rows in ((dataset.x_train, dataset.train_rows), (dataset.x_test, None)):
        for _, block in row_blocks(x, rows):
            if not bool(((block >= 0) & (block == np.round(block)) & np.isfinite(block)).all()):
                return None
            highest = max(highest, float(block.max(initial=0)))
    return int(highest) + 1


_DECIDED: dict[str, Callable[[Dataset], Any]] = {
    "columns": _columns,
    "num_classes": _num_classes,
    "num_levels": _num_levels,
    "num_symbols": partial(_of_symbols, "num_symbols"),
    "points": partial(_of_symbols, "points"),
}
