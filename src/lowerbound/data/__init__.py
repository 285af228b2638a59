"""Reading, checking, naming and serving data.

| module | what it does |
|---|---|
| `catalog` | the data sets known by name: `names`, `describe`, `load` |
| `shapes` | a generated set of pictures with known factors |
| `readers` | a user's file or folder: `read_file` for a fit, `read_rows` under the schema of a fit |
| `schema`, `overrides` | what the numbers mean, and what the user says about them |
| `kinds` | images, tables, counts, arrays: one file for each kind of data |
| `dataset` | what all of these give: `Dataset`, with its schema and checksum |
| `checks` | the refusals, each a `DataError` of one sentence |
| `transform` | raw rows to what a likelihood scores: `Pixels`, `Standardize`, `Identity` |
| `source`, `stream` | rows by number, from memory or from disk; which rows form which batch |
| `feed` | what `train` takes: tensors, arrays, data sets and loaders of torch |

Names are imported when first used, so that listing the data sets costs neither numpy nor torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowerbound.data.assemble import Rows
    from lowerbound.data.catalog import describe, entry, load, names
    from lowerbound.data.checks import (
        check_array,
        check_column,
        check_counts,
        check_features,
        check_labels,
        check_unit_interval,
    )
    from lowerbound.data.dataset import Dataset
    from lowerbound.data.errors import DataError
    from lowerbound.data.feed import Batches, OfDataset
    from lowerbound.data.overrides import Overrides, parse_columns
    from lowerbound.data.readers import read_file, read_rows
    from lowerbound.data.schema import Column, LeftOut, Schema
    from lowerbound.data.source import InMemory, MemoryMapped, OnData, Source, source_for
    from lowerbound.data.stream import Stream
    from lowerbound.data.transform import Identity, Pixels, Standardize, Transform, applied

__all__ = [
    "Batches",
    "Column",
    "DataError",
    "Dataset",
    "Identity",
    "InMemory",
    "LeftOut",
    "MemoryMapped",
    "OfDataset",
    "OnData",
    "Overrides",
    "Pixels",
    "Rows",
    "Schema",
    "Source",
    "Standardize",
    "Stream",
    "Transform",
    "applied",
    "check_array",
    "check_column",
    "check_counts",
    "check_features",
    "check_labels",
    "check_unit_interval",
    "describe",
    "entry",
    "load",
    "names",
    "parse_columns",
    "read_file",
    "read_rows",
    "source_for",
]

_HOME = {
    "assemble": ("Rows",),
    "catalog": ("describe", "entry", "load", "names"),
    "checks": (
        "check_array",
        "check_column",
        "check_counts",
        "check_features",
        "check_labels",
        "check_unit_interval",
    ),
    "dataset": ("Dataset",),
    "errors": ("DataError",),
    "feed": ("Batches", "OfDataset"),
    "overrides": ("Overrides", "parse_columns"),
    "readers": ("read_file", "read_rows"),
    "schema": ("Column", "LeftOut", "Schema"),
    "source": ("InMemory", "MemoryMapped", "OnData", "Source", "source_for"),
    "stream": ("Stream",),
    "transform": ("Identity", "Pixels", "Standardize", "Transform", "applied"),
}
_MODULE_OF = {name: module for module, names_in in _HOME.items() for name in names_in}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'lowerbound.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"lowerbound.data.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
